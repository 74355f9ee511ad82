"""How fast the functions are, beside what a seller would write instead: ``python -m tools.benchmarks``."""
