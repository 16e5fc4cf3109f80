"""The long short-term memory character model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from char_rnn.cells import LSTM
from char_rnn.models.base import CharModel, State
from char_rnn.ops import LSTMNorm, lstm


class CharLSTM(CharModel):
    """A character model of stacked LSTM layers; its hidden state is a pair (h, c), each (L, B, H).

    See :class:`~char_rnn.models.base.CharModel` for the arguments, and :func:`char_rnn.ops.lstm_reference` for the
    equations.
    """

    name = "lstm"
    num_gates = LSTM.gates
    make_norm = LSTMNorm
    state_names = ("h", "c")

    def run_layer(self, x: Tensor, state: State, weights: list[Tensor], **options: Any) -> tuple[Tensor, State]:
        """Run one LSTM layer over x (B, T, I) from its state, h and c of (B, H)."""
        h, c = state
        return lstm(x, (h, c), *weights, **options)
