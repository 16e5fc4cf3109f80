"""The layers with products in a low-precision type, under autocast: near the reference, all else as in float32."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from ops_helpers import (
    CELLS,
    OURS,
    Case,
    Layer,
    assert_all_close,
    assert_keeps_openly,
    assert_same,
    each,
    exact,
    outputs_and_gradients,
)
from torch import Tensor

from char_rnn.ops import kernel_loop

ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11}
CASES = [*map(Case, CELLS), Case("lstm", symbols=True), *[Case(cell, norm=True, zoneout="mask") for cell in OURS]]
ALL = Case("lstm", norm=True, zoneout="mask", rounds=3, symbols=True)
PLAIN = [Case(cell) for cell in OURS]
KINKED = ("mingru", "minlstm")
"""Cells with a function whose slope jumps, so that rounding can change a single element of a gradient by much."""


def in_autocast(case: Case, products: torch.dtype = torch.bfloat16) -> Layer:
    """The layer as the trainer runs it: the forward pass alone is inside autocast."""
    layer = case.layer()

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", dtype=products):
            return layer(*tensors)

    return run


def assert_near(actual: Sequence[Tensor], expected: Sequence[Tensor], rounding: float) -> None:
    """Every tensor within six roundings of its largest element: those of two factors, a product, a sum, and back."""
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(left.double(), right, rtol=0, atol=6 * rounding * right.abs().max().item())


@pytest.mark.parametrize("sizes", [(1, 1, 7, 12), (2, 13, 9, 17), (5, 21, 64, 96)], ids=str)
@each(CASES)
def test_bfloat16_is_near_the_reference(case: Case, way: torch.dtype, sizes: tuple[int, int, int, int]) -> None:
    case = case.at(*sizes)
    tensors = case.tensors(torch.float32)
    found, expected = outputs_and_gradients(in_autocast(case), tensors), exact(case, tensors)
    count = 2 if case.cell in KINKED else len(expected)
    assert_near(found[:count], expected[:count], ROUNDING[torch.bfloat16])


@each(PLAIN, ["derived"])
def test_float16_is_near_the_reference(case: Case, way: torch.dtype) -> None:
    case = case.at(2, 13, 9, 17)
    tensors = case.tensors(torch.float32)
    found = outputs_and_gradients(in_autocast(case, torch.float16), tensors)
    assert_near(found, exact(case, tensors), ROUNDING[torch.float16])


@each([*PLAIN, Case("lstm", norm=True, symbols=True)])
def test_gradients_are_near_as_a_whole(case: Case, way: torch.dtype) -> None:
    case = case.at(13, 50, 65, 128)
    tensors = case.tensors(torch.float32)
    parts = 1 + len(CELLS[case.cell].state)
    found, expected = outputs_and_gradients(in_autocast(case), tensors)[parts:], exact(case, tensors)[parts:]
    squares = [
        ((left.double() - right).square().sum(), right.square().sum())
        for left, right in zip(found, expected, strict=True)
    ]
    off, whole = map(sum, zip(*squares, strict=True))
    assert 5e-4 < (off / whole) ** 0.5 < 5e-3


@each([*PLAIN, ALL])
def test_state_sums_and_gradients_stay_in_the_type_of_the_parameters(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(torch.float32)
    outputs = in_autocast(case)(*tensors)
    gradients = torch.autograd.grad(outputs[0].sum(), tensors)
    assert {tensor.dtype for tensor in (*outputs, *gradients)} == {torch.float32}
    assert not torch.equal(outputs[1], outputs[1].bfloat16().float())


@each([*PLAIN, ALL])
def test_low_precision_input_gets_a_gradient_of_its_type(case: Case, way: torch.dtype) -> None:
    x, *others = case.tensors(torch.float32)
    x = x.detach().bfloat16().requires_grad_()
    output, *_ = in_autocast(case)(x, *others)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert gradient.dtype == torch.bfloat16


@each([*PLAIN, ALL], ["derived"])
def test_double_precision_is_left_alone(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors()
    assert_all_close(outputs_and_gradients(in_autocast(case), tensors), exact(case, tensors))


@each([*PLAIN, ALL])
def test_without_gradients_the_values_are_the_same(case: Case, way: torch.dtype) -> None:
    case = case.at(2, 6, 3, 5)
    tensors = case.tensors(torch.float32)
    expected = in_autocast(case)(*tensors)
    with torch.no_grad():
        assert_same(in_autocast(case)(*tensors), expected)


@each([*PLAIN, ALL])
def test_going_back_twice_gives_the_same_twice_and_changes_no_argument(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(torch.float32)
    copies = [tensor.detach().clone() for tensor in tensors]
    output, *_ = in_autocast(case)(*tensors)
    first, second = (torch.autograd.grad(output.sum(), tensors, retain_graph=True) for _ in range(2))
    assert_same(first, second)
    assert_same(tensors, copies)


@each([*PLAIN, ALL])
def test_all_that_is_kept_can_be_counted_and_is_freed(case: Case, way: torch.dtype) -> None:
    assert_keeps_openly(in_autocast(case), case.tensors(torch.float32))


@pytest.mark.parametrize("cell", ["lstm", "gru-after", "rnn"])
def test_other_devices_compute_in_bfloat16_as_asked(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    """As on CUDA, where autocast would take float16: PyTorch's own kernels get bfloat16 tensors; here on the CPU."""
    case = Case(cell, sizes=(2, 7, 5, 6))
    tensors = case.tensors(torch.float32)
    expected = exact(case, tensors)[: 1 + len(CELLS[cell].state)]
    monkeypatch.setattr(kernel_loop, "can_run", lambda *_: False)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    found = in_autocast(case)(*tensors)
    assert {tensor.dtype for tensor in found} == {torch.bfloat16}
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left.double(), right, rtol=0, atol=0.05)
