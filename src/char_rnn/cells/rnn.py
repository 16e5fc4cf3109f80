"""The simple (Elman, tanh) recurrent cell.

Source: Elman (1990), "Finding structure in time"; the weight layout is that of ``torch.nn.RNN``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, normalize, tanh


class RNN(Cell):
    """The state is h. Layer normalization applies to the sum of the products."""

    name = "rnn"
    gates = 1
    normalization: ClassVar = {"gain": 1}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h after a step."""
        (h,) = state
        bias = p.bias_ih + p.bias_hh
        if p.gain is None:
            return (tanh(p.weight_ih @ x + bias + p.weight_hh @ h),)
        return (tanh(normalize(p.weight_ih @ x + p.weight_hh @ h, p.gain, bias)),)
