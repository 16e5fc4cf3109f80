"""Recurrences without a loop: which cells have them, and their results against the loop in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from ops_helpers import CELLS, Case, assert_all_close, exact, outputs_and_gradients

from char_rnn.cells import Cell, Value, sigmoid, split, tanh
from char_rnn.ops import scan, tensor_loop
from char_rnn.ops.equations import traced


class Gated(Cell):
    """Has a state that is only written, and an output that reads the recurrent state before and after the step."""

    gates, recurrent, state = 3, False, ("h", "c", "last")

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        _, c, _ = state
        f, n, o = split(p.weight_ih @ x + p.bias_ih, 1, 1, 1)
        after = 0.9 * (c - n) * sigmoid(f) + (0.5 - c)
        return sigmoid(o) * tanh(after - c), after, n


class Squared(Cell):
    """Has a recurrent state that is not a sum of terms."""

    gates, recurrent = 1, False

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        (h,) = state
        return (p.weight_ih @ x + h * (1.0 - h),)


def loop_of(cell: Cell, **options: Any) -> Any:
    parameters = {name: torch.zeros(shape) for name, shape in cell.shapes(3, 4).items()}
    return traced(cell, parameters, **options).loop


def test_cells_with_such_a_recurrence() -> None:
    found = {name for name, cell in CELLS.items() if scan.terms(loop_of(cell)) is not None}
    assert {"mingru", "minlstm"} <= found
    assert found.isdisjoint(("lstm", "gru-after", "gru-before", "rnn", "peephole", "mixture"))
    assert scan.terms(loop_of(Gated())) is not None
    assert scan.terms(loop_of(Gated(), zoneout=[0.5] * 3)) is None  # the output then reads itself
    assert scan.terms(loop_of(Squared())) is None


@pytest.mark.parametrize("sizes", [(1, 1, 1, 3), (2, 13, 9, 17), (3, 2, 4, 6), (3, 64, 4, 6)], ids=str)
@pytest.mark.parametrize(
    "case",
    [
        Case("mingru"),
        Case("mingru", norm=True, zoneout="mask", symbols=True),
        Case("minlstm"),
        Case("minlstm", norm=True, zoneout="number"),
        Case("gated"),
    ],
    ids=str,
)
def test_layers_by_a_scan_agree_with_the_reference(
    case: Case, sizes: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CELLS, "gated", Gated())
    monkeypatch.setattr(scan, "pays", lambda x: True)
    monkeypatch.delattr(tensor_loop, "forward")
    case = case.at(*sizes)
    tensors = case.tensors()
    for unread in (tensors[1], tensors[3]) if case.cell == "gated" else ():
        unread.requires_grad_(False)
    assert_all_close(outputs_and_gradients(case.layer(), tensors), exact(case, tensors))
