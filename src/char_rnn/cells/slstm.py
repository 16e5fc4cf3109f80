"""The sLSTM cell: an LSTM with exponential gating.

Source: Beck et al. (2024), xLSTM, arXiv 2405.04517, section 2.2, with a sigmoid forget gate and one head: ``weight_hh``
is a full matrix, as in an LSTM. The paper's state is c and n, and the output o c / n:

    c' = f c + i z        n' = f n + i        i = exp(i~)

The exponentials overflow, so the paper adds a stabilizer to the state. Here the state is c / n and log n instead, in
which the same equations have no exponential: i / n' is a sigmoid, and log n' a softplus. The state starts at zero, so n
starts at 1 (0 in the paper).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, normalize, sigmoid, softplus, split, tanh


class SLSTM(Cell):
    """Gates i, f, z, o; the state is h, c (the paper's c / n) and n (its log n).

    Layer normalization applies to both products.
    """

    name = "slstm"
    gates = 4
    state = ("h", "c", "n")
    normalization: ClassVar = {"gain_ih": 4, "gain_hh": 4}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h, c and n after a step."""
        h, c, n = state
        of_x = normalize(p.weight_ih @ x, p.gain_ih) + (p.bias_ih + p.bias_hh)
        i, f, z, o = split(of_x + normalize(p.weight_hh @ h, p.gain_hh), 1, 1, 1, 1)  # pre-activations
        n = n - softplus(-f)  # log(f n), because log(sigmoid(f)) = -softplus(-f)
        new = i - n
        c = c + sigmoid(new) * (tanh(z) - c)
        return sigmoid(o) * c, c, n + softplus(new)
