"""Measures this package on the machine it is on, beside plain PyTorch and what the machine can do at most."""
