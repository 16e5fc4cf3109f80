"""The coupled sLSTM: one gate opens for the input and closes on the memory.

It is the sLSTM (:mod:`char_rnn.cells.slstm`, with the meaning of its state) with the forget gate 1 - sigmoid(i), as in
the LSTM with coupled gates (CIFG in Greff et al. 2017, arXiv 1503.04069). Three gates leave room for more units: at the
cost of an LSTM or sLSTM of 384 units, 440.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, normalize, sigmoid, softplus, split, tanh


class CoupledSLSTM(Cell):
    """Gates i, z, o; the state is h, c and n. Layer normalization applies to both products."""

    name = "cslstm"
    gates = 3
    state = ("h", "c", "n")
    normalization: ClassVar = {"gain_ih": 3, "gain_hh": 3}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h, c and n after a step."""
        h, c, n = state
        of_x = normalize(p.weight_ih @ x, p.gain_ih) + (p.bias_ih + p.bias_hh)
        i, z, o = split(of_x + normalize(p.weight_hh @ h, p.gain_hh), 1, 1, 1)  # pre-activations
        n = n - softplus(i)  # log((1 - sigmoid(i)) n)
        new = i - n
        c = c + sigmoid(new) * (tanh(z) - c)
        return sigmoid(o) * c, c, n + softplus(new)
