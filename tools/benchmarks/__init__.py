"""Benchmarks of the functions, compared with the usual code: ``python -m tools.benchmarks``."""
