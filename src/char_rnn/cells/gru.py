"""The gated recurrent unit, with the reset gate before or after the recurrent product.

Cho et al. (2014), arXiv 1406.1078, equations (5) to (8), and Chung et al. (2014), arXiv 1412.3555, apply the reset gate
before the recurrent product; cuDNN and ``torch.nn.GRU`` apply it after. These are different functions: no mapping of
weights turns one into the other. The weight layout and the gate order r, z, n are those of
``torch.nn.GRU`` for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, concatenate, normalize, sigmoid, split, tanh


class GRU(Cell):
    """Gates r, z, n; the state is h.

    Layer normalization applies to every product, to r and z together and to n alone.

    Args:
        reset: Whether the reset gate is applied "after" the recurrent product or "before" it.

    Raises:
        ValueError: `reset` is neither.
    """

    name = "gru"
    gates = 3
    normalization: ClassVar = {"gain_ih": 3, "gain_hh": 3}

    def __init__(self, reset: str = "after") -> None:
        if reset not in ("after", "before"):
            raise ValueError(f'reset: got {reset!r}; give "after" or "before"')
        self.reset = reset

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h after a step."""
        (h,) = state
        bias_ih_rz, bias_ih_n = split(p.bias_ih, 2, 1)
        bias_hh_rz, bias_hh_n = split(p.bias_hh, 2, 1)
        gain_rz, gain_n = split(p.gain_hh, 2, 1)
        after = self.reset == "after"
        of_x = p.weight_ih @ x
        if p.gain_ih is not None:
            of_x = concatenate(*map(normalize, split(of_x, 2, 1), split(p.gain_ih, 2, 1)))
        bias = concatenate(bias_ih_rz + bias_hh_rz, bias_ih_n if after else bias_ih_n + bias_hh_n)
        x_rz, x_n = split(of_x + bias, 2, 1)
        if after:
            h_rz, h_n = split(p.weight_hh @ h, 2, 1)
            r, z = split(sigmoid(x_rz + normalize(h_rz, gain_rz)), 1, 1)
            n = tanh(x_n + r * (normalize(h_n, gain_n) + bias_hh_n))
        else:
            weight_rz, weight_n = split(p.weight_hh, 2, 1)
            r, z = split(sigmoid(x_rz + normalize(weight_rz @ h, gain_rz)), 1, 1)  # (5) and (6)
            n = tanh(x_n + normalize(weight_n @ (r * h), gain_n))  # (8)
        return (n + z * (h - n),)  # (7)
