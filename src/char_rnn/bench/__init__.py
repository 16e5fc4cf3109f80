"""Benchmarks of this package, compared with plain PyTorch and with the limits of the machine."""
