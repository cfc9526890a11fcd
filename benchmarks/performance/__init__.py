"""PERFORMANCE.md from the records in benchmarks/results: `python -m benchmarks.performance` writes it."""
