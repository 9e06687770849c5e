"""Benchmarks, one file each, which exports ``SUITE``; ``evals.registry`` lists them."""
