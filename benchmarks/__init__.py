"""Benchmarks: ratios to floors measured in the same run. `python -m benchmarks` runs them."""
