"""The long short-term memory cell.

Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000); equations (7) to (11) of Graves
(2013), arXiv 1308.0850, without the peepholes. The weight layout and the gate order i, f, g, o are those of
``torch.nn.LSTM``. Layer normalization follows the supplement of Ba, Kiros and Hinton (2016), arXiv 1607.06450: of both
products, and of the cell state on its way to the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, normalize, sigmoid, split, tanh


class LSTM(Cell):
    """Gates i, f, g, o; the state is h and c."""

    name = "lstm"
    gates = 4
    state = ("h", "c")
    forget_gate = 1
    normalization: ClassVar = {"gain_ih": 4, "gain_hh": 4, "gain_c": 1, "bias_c": 1}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h and c after a step."""
        h, c = state
        of_x = normalize(p.weight_ih @ x, p.gain_ih) + (p.bias_ih + p.bias_hh)
        i, f, g, o = split(of_x + normalize(p.weight_hh @ h, p.gain_hh), 1, 1, 1, 1)  # pre-activations
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)  # (7) to (9)
        h = sigmoid(o) * tanh(normalize(c, p.gain_c, p.bias_c))  # (10) and (11)
        return h, c
