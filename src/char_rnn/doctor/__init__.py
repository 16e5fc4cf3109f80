"""A check of the machine: whether each device computes correctly, and how fast.

Every cell runs on each device in float32 and is compared with the CPU in float64: forward pass, gradients, a training
run, and the known bugs of PyTorch's devices.
"""

from char_rnn.doctor.examination import examine, examine_backends
from char_rnn.doctor.problem import Backend
from char_rnn.doctor.report import CheckResult, Report, Speed, Threads, Verdict, to_text

__all__ = ["Backend", "CheckResult", "Report", "Speed", "Threads", "Verdict", "examine", "examine_backends", "to_text"]
