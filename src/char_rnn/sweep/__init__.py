"""Sweeps: one run for every combination of a grid of values."""

from char_rnn.sweep.running import Job, Setting, SweepResult, SweepRun, sweep, train_job

__all__ = ["Job", "Setting", "SweepResult", "SweepRun", "sweep", "train_job"]
