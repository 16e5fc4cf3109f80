"""The simple recurrent character model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from char_rnn.cells import RNN
from char_rnn.models.base import CharModel, State
from char_rnn.ops import RNNNorm, rnn


class CharRNN(CharModel):
    """A character model of stacked tanh (Elman) layers; its hidden state is (L, B, H).

    See :class:`~char_rnn.models.base.CharModel` for the arguments, and :func:`char_rnn.ops.rnn_reference` for the
    equation.
    """

    name = "rnn"
    num_gates = RNN.gates
    make_norm = RNNNorm

    def run_layer(self, x: Tensor, state: State, weights: list[Tensor], **options: Any) -> tuple[Tensor, State]:
        """Run one tanh layer over x (B, T, I) from its state, h of (B, H)."""
        output, h = rnn(x, state[0], *weights, **options)
        return output, (h,)
