"""The minimal gated recurrent unit: gates and candidate depend on the input alone, so no product is recurrent.

Source: Feng et al. (2024), arXiv 2410.01201: section 3.1, and appendix B for the candidate, which is positive, as the
paper computes the recurrence in log-space. Here it is computed as it is written, which gives the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from char_rnn.cells.cell import Cell
from char_rnn.cells.language import Value, normalize, relu, sigmoid, split


class MinGRU(Cell):
    """Gate z and candidate n; the state is h. Layer normalization applies to the product, of both as one row."""

    name = "mingru"
    gates = 2
    recurrent = False
    normalization: ClassVar = {"gain_ih": 2}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return h after a step."""
        (h,) = state
        z, n = split(normalize(p.weight_ih @ x, p.gain_ih) + p.bias_ih, 1, 1)
        return (h + sigmoid(z) * (candidate(n) - h),)


def candidate(n: Value) -> Value:
    """Return g of appendix B: n + 0.5 from 0 on, and sigmoid(n) below, where n - relu(n) is n instead of 0."""
    positive = relu(n)
    return positive + sigmoid(n - positive)
