"""The minimal long short-term memory: gates and candidate depend on the input alone, so no product is recurrent.

Source: Feng et al. (2024), arXiv 2410.01201: section 3.2, and appendix B for the candidate (see
:func:`char_rnn.cells.mingru.candidate`).

With the pre-activations f and i, the forget and input gates are F = sigmoid(f) and I = sigmoid(i), each divided by
F + I. As log(sigmoid(v)) = -softplus(-v), the normalized forget gate is ::

    F / (F + I) = 1 / (1 + exp(log(I) - log(F))) = sigmoid(log(F) - log(I)) = sigmoid(softplus(-i) - softplus(-f))

which avoids 0 / 0 if both gates are tiny. The normalized input gate is 1 minus this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, normalize, sigmoid, softplus, split
from char_rnn.cells.mingru import candidate


class MinLSTM(Cell):
    """Gates f, i and candidate n; the state is h. Layer normalization applies to the product, of all as one row."""

    name = "minlstm"
    gates = 3
    recurrent = False
    forget_gate = 0
    normalization: ClassVar = {"gain_ih": 3}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h after a step."""
        (h,) = state
        f, i, n = split(normalize(p.weight_ih @ x, p.gain_ih) + p.bias_ih, 1, 1, 1)
        n = candidate(n)
        return (n + sigmoid(softplus(-i) - softplus(-f)) * (h - n),)
