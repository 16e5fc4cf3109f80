"""Recurrent layers, and attention to their states, as functions on tensors.

A recurrent layer is a cell's equations (:mod:`char_rnn.cells`), batch-first input, and parameters in PyTorch's layout,
so that the weights of ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` fit. :func:`reference_layer` is the readable loop that
tests compare with :func:`run_layer`; both have the same arguments.
"""

from char_rnn.ops.attention import attend, attend_reference
from char_rnn.ops.equations import Parameters, State, Update, reference_layer
from char_rnn.ops.layers import run_layer
from char_rnn.ops.matching import find_matches, find_matches_reference

__all__ = [
    "Parameters",
    "State",
    "Update",
    "attend",
    "attend_reference",
    "find_matches",
    "find_matches_reference",
    "reference_layer",
    "run_layer",
]
