"""Benchmarks: ratios measured in one run, and what a task costs. `python -m benchmarks --help`."""
