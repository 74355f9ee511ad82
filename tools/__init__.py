"""Developers' tools: the local cloud, the OpenAPI document, the benchmarks."""
