"""Recurrent layers, and attention to their states, as functions on tensors alone.

For each a readable reference loop stands beside the fast path, with the same signature. The recurrent ones take one
layer, batch-first input and PyTorch's weight layout, so that the weights of ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` fit;
their options, off by default, are normalization inside the cell (`norm`), `zoneout` and, for the LSTM, a `mogrifier`.
"""

from char_rnn.ops.attention import attend, attend_reference
from char_rnn.ops.cell_options import GRUNorm, LSTMNorm, RNNNorm, Update
from char_rnn.ops.gru import gru, gru_reference
from char_rnn.ops.lstm import lstm, lstm_reference
from char_rnn.ops.rnn import rnn, rnn_reference

__all__ = [
    "GRUNorm",
    "LSTMNorm",
    "RNNNorm",
    "Update",
    "attend",
    "attend_reference",
    "gru",
    "gru_reference",
    "lstm",
    "lstm_reference",
    "rnn",
    "rnn_reference",
]
