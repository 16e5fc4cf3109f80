"""Runs, seen from outside: what is in a run folder, lists of runs, pictures of their losses. No PyTorch."""
