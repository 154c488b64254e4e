"""Timings side by side against peers; every figure is a ratio measured in one run."""
