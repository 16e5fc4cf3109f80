"""The training kernels in layers: odd sizes, threads, a forked child, and what they leave to the derived loop."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from ops_helpers import (
    CELLS,
    OURS,
    Case,
    Sizes,
    assert_all_close,
    assert_same,
    each,
    exact,
    outputs_and_gradients,
)

from char_rnn.cells import LSTM, Cell, Value, concatenate, split, tanh
from char_rnn.kernels.lowering import MOST_REGISTERS
from char_rnn.ops import kernel_loop, layers, reference_layer, run_layer
from char_rnn.ops.equations import traced


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [
        (13, 4, 1, 1),
        (1, 3, 17, 33),
        (3, 3, 33, 17),
        (13, 2, 1, 17),
        (1, 2, 1000, 33),
        pytest.param((3, 3, 17, 1000), marks=pytest.mark.slow),
        pytest.param((13, 3, 1000, 1000), marks=pytest.mark.slow),
        pytest.param((50, 50, 65, 128), marks=pytest.mark.slow),
    ],
    ids=lambda sizes: "B{}-T{}-I{}-H{}".format(*sizes),
)
@each([Case(cell) for cell in OURS], ["kernels"])
def test_kernels_at_odd_sizes(case: Case, way: torch.dtype, sizes: Sizes, norm: bool) -> None:
    case = Case(case.cell, norm=norm, sizes=sizes)
    tensors = case.tensors(way)
    assert_all_close(outputs_and_gradients(case.layer(), tensors), exact(case, tensors))


@each([*map(Case, CELLS), *[Case(cell, norm=True, zoneout="mask") for cell in OURS]], ["kernels"])
def test_products_with_the_input_before_the_loop(case: Case, way: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the matrices are too large to stay in a core's cache."""
    monkeypatch.setattr(layers, "_CACHE", 0)
    tensors = case.tensors(way)
    assert_all_close(outputs_and_gradients(case.layer(), tensors), exact(case, tensors))


@each([Case("lstm", norm=True, zoneout="mask"), Case("gru-before", symbols=True), Case("rnn")], ["kernels"])
def test_threads_share_the_sequences_and_change_no_bit_of_them(case: Case, way: torch.dtype) -> None:
    case = case.at(7, 5, 9, 33)
    tensors, before = case.tensors(way), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 2, 3):
            torch.set_num_threads(threads)
            found.append(outputs_and_gradients(case.layer(), tensors))
    finally:
        torch.set_num_threads(before)
    one, two, again, three = found
    assert_same(two, again)
    parts = len(CELLS[case.cell].state)
    of_rows = [*range(1 + parts), *range(2 + parts, 2 + 2 * parts)]  # output, state, and its gradient
    for other in two, three:
        assert_same([one[number] for number in of_rows], [other[number] for number in of_rows])
        assert_all_close(other, one)


@each([Case("lstm", norm=True)], ["kernels"])
def test_a_run_writes_nothing_that_another_thread_may_read(case: Case, way: torch.dtype) -> None:
    """Programs are shared by all threads of Python; what a run would write there is cleared first."""
    tensors = case.tensors(way)
    expected = outputs_and_gradients(case.layer(), tensors)
    parameters = dict(zip(case.shapes, tensors[-len(case.shapes) :], strict=True))
    loop = layers._fastest(traced(CELLS[case.cell], parameters), parameters)
    templates = kernel_loop._forward(loop, keeps=True), kernel_loop._backward(loop)
    lists = [instructions for template in templates if template for instructions in template._instructions]
    for instruction in (instruction for listed in lists for instruction in listed):
        instruction.in_place = 0
    try:
        before = [bytes(listed) for listed in lists]
        assert lists
        assert_all_close(outputs_and_gradients(case.layer(), tensors), expected)
        assert [bytes(listed) for listed in lists] == before
    finally:
        kernel_loop._forward.cache_clear()
        kernel_loop._backward.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@each([Case("lstm")], ["kernels"])
def test_a_forked_child_runs_layers(case: Case, way: torch.dtype) -> None:
    """The threads of the parent do not exist in it."""
    tensors, before = case.tensors(way), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        expected = outputs_and_gradients(case.layer(), tensors)[0]
        child = os.fork()
        if not child:
            signal.alarm(60)  # ends a child that waits for threads
            with torch.no_grad():
                found = case.layer()(*tensors)[0]
            os._exit(0 if torch.equal(found, expected) else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


class Wide(Cell):
    """Needs as many values at a time as it has gates: each is read again after all of them have been added."""

    def __init__(self, gates: int) -> None:
        self.gates = gates

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        parts = [tanh(part) for part in split(p.weight_ih @ x + p.weight_hh @ state[0], *[1] * self.gates)]
        total = sum(parts, 0.0)
        for part in parts:
            total = total * part
        return (total,)


class Halves(Cell):
    """Cuts a part of the state in two, where the kernels have no boundary."""

    gates = 1

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        left, right = split(state[0], 1, 1)
        return (tanh(p.weight_ih @ x + p.weight_hh @ concatenate(right, left)),)


class Unread(Cell):
    """Has a part of the state that no step reads."""

    gates, state = 1, ("h", "c")

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        new = tanh(p.weight_ih @ x + p.weight_hh @ state[0])
        return new, new


class Moved(Cell):
    """Makes of one unread part of the state another."""

    gates, state = 1, ("h", "c", "d")

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        h, c, _ = state
        return tanh(p.weight_ih @ x), p.weight_hh @ tanh(p.weight_hh @ h), c + p.bias_hh


class Shown(Cell):
    """Has the product with the input as a part of its state."""

    gates, state = 1, ("h", "c")

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        product = p.weight_ih @ x
        return tanh(product + p.bias_ih + p.weight_hh @ state[0]), product


def given(cell: Cell, dtype: torch.dtype = torch.float32) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Input, state and parameters at 4 units."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, 6, 3), *[(2, 4)] * len(cell.state), *cell.shapes(3, 4).values()]
    tensors = [(torch.rand(shape, generator=generator) + 0.2).to(dtype).requires_grad_() for shape in shapes]
    x, *rest = tensors
    state, parameters = rest[: len(cell.state)], rest[len(cell.state) :]
    return [x, *state], dict(zip(cell.shapes(3, 4), parameters, strict=True))


@pytest.mark.parametrize("cell", [Wide(MOST_REGISTERS + 8), Halves()], ids=lambda cell: type(cell).__name__)
def test_a_cell_that_the_kernels_cannot_hold_is_run_by_the_derived_loop(cell: Cell) -> None:
    (x, *state), parameters = given(cell)
    assert not kernel_loop.can_run(traced(cell, parameters).loop, [*parameters.values()], None)
    results = []
    for layer in run_layer, reference_layer:
        output, _ = layer(cell, x, tuple(state), parameters)
        wanted = [x, *state, parameters["weight_ih"], parameters["weight_hh"]]
        results.append([output, *torch.autograd.grad(output.square().sum(), wanted)])
    assert_all_close(*results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", [Unread(), Moved(), Shown()], ids=lambda cell: type(cell).__name__)
def test_parts_of_the_state_that_are_moved_or_not_read(cell: Cell, dtype: torch.dtype) -> None:
    (x, *state), parameters = given(cell, dtype)
    results = []
    for layer in run_layer, reference_layer:
        output, after = layer(cell, x, tuple(state), parameters)
        total = sum((part.square().sum() for part in after), output.square().sum())
        grads = torch.autograd.grad(total, [x, *state, *parameters.values()], materialize_grads=True)
        results.append([output, *after, *grads])
    assert_all_close(*results)


def test_the_kernels_run_float32_and_products_of_float32_and_bfloat16_alone() -> None:
    if kernel_loop.load() is None:
        pytest.skip("the kernels are not built, or do not run here")
    types: list[tuple[torch.dtype, torch.dtype | None, bool]] = [
        (torch.float32, None, True),
        (torch.float32, torch.bfloat16, True),
        (torch.float32, torch.float16, False),
        (torch.float64, None, False),
    ]
    for dtype, products, can in types:
        tensors, parameters = given(LSTM(), dtype)
        loop = traced(LSTM(), parameters).loop
        assert kernel_loop.can_run(loop, [*tensors[1:], *parameters.values()], products) == can
        assert not kernel_loop.can_run(loop, [tensor.to("meta") for tensor in tensors], products)


def test_without_kernels_none_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_loop, "load", lambda: None)
    tensors, parameters = given(LSTM())
    assert not kernel_loop.can_run(traced(LSTM(), parameters).loop, tensors, None)
