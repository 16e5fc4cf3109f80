"""Sweeps: one run for every combination of a grid of values."""

from char_rnn.sweep.running import FAILURES, Job, SweepResult, SweepRun, SweepSetting, sweep, train_job

__all__ = ["FAILURES", "Job", "SweepResult", "SweepRun", "SweepSetting", "sweep", "train_job"]
