"""A check of the user's own machine: does each device compute right, and how fast?

Every cell is run on each device in float32 and compared with the CPU in float64: forward pass, gradients, a training
run, and the hazards that PyTorch's devices are known for.
"""

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.examination import examine, examine_backends
from char_rnn.doctor.report import CheckResult, Report, Speed, Threads, Verdict
from char_rnn.doctor.words import to_text

__all__ = ["Backend", "CheckResult", "Report", "Speed", "Threads", "Verdict", "examine", "examine_backends", "to_text"]
