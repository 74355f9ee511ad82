"""What developers run: the local cloud, the OpenAPI document, the benchmarks."""
