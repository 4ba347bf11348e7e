"""Benchmarks: ratios against peers and against the limit, each measured in one run. See README.md."""
