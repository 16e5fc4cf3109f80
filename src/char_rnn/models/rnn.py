"""The simple recurrent character model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from char_rnn.models.base import CharModel, State
from char_rnn.models.parameters import NUM_GATES
from char_rnn.ops import RNNNorm, rnn


class CharRNN(CharModel):
    """A character model of stacked tanh (Elman) layers; its hidden state is (L, B, H).

    See :class:`~char_rnn.models.base.CharModel` for the arguments, and :func:`char_rnn.ops.rnn_reference` for the
    equation.
    """

    name = "rnn"
    mode = "RNN_TANH"
    num_gates = NUM_GATES["rnn"]
    make_norm = RNNNorm

    def run_layer(self, x: Tensor, state: State, weights: list[Tensor], **options: Any) -> tuple[Tensor, State]:
        """Run one tanh layer over x (B, T, I) from its state, h of (B, H)."""
        output, h = rnn(x, state[0], *weights, **options)
        return output, (h,)
