"""Every way to run every layer against its reference in float64: output, last state, every gradient."""

from __future__ import annotations

import pytest
import torch
from ops_helpers import (
    CELLS,
    OURS,
    Case,
    Sizes,
    assert_all_close,
    assert_keeps_openly,
    assert_same,
    each,
    exact,
    outputs_and_gradients,
    with_gaps,
)
from pairwise import pairwise
from torch import nn

from char_rnn.ops import reference_layer

PLAIN = [Case(cell) for cell in CELLS]
OPTIONS = [
    *[Case(cell, norm, zoneout) for cell in OURS for norm in (False, True) for zoneout in ("", "mask", "number")][1:],
    *[
        Case("lstm", norm=norm, zoneout=zoneout, rounds=r)
        for norm, zoneout, r in ((0, "", 1), (0, "mask", 2), (1, "", 5))
    ],
    *[Case(cell, symbols=True) for cell in OURS],
    Case("lstm", norm=True, zoneout="mask", rounds=3, symbols=True),
    Case("gru-before", norm=True, zoneout="number", symbols=True),
    Case("peephole", zoneout="mask", symbols=True),
]
CASES = list(dict.fromkeys(PLAIN + OPTIONS))
SOME = [Case("lstm"), *[Case(cell, norm=True, zoneout="mask", symbols=cell == "rnn") for cell in OURS], Case("mixture")]
PYTORCH = [Case("lstm"), Case("gru-after"), Case("rnn")]
SIZES = [(1, 1, 1, 3), (3, 1, 2, 4), (2, 13, 9, 17), (5, 3, 31, 33)]


@pytest.mark.parametrize(
    ("case", "way", "sizes"), pairwise(CASES, ["kernels", "derived"], SIZES), ids=str, indirect=["way"]
)
def test_agrees_with_the_reference(case: Case, way: torch.dtype, sizes: Sizes) -> None:
    case = case.at(*sizes)
    tensors = case.tensors(way)
    assert_all_close(outputs_and_gradients(case.layer(), tensors), exact(case, tensors))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@each(PYTORCH, ["pytorch"])
def test_pytorchs_functions_agree_with_the_reference(case: Case, way: torch.dtype, sizes: Sizes) -> None:
    case = case.at(*sizes)
    for tensors in case.tensors(way), case.tensors(torch.float32):
        assert_all_close(outputs_and_gradients(case.layer(), tensors), exact(case, tensors))


@each([*SOME, Case("lstm", rounds=2)], ["derived"])
def test_gradients_agree_with_finite_differences(case: Case, way: torch.dtype) -> None:
    case = case.at(2, 3, 2, 3)
    assert torch.autograd.gradcheck(case.layer(), case.tensors(way))


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_gradients_of_the_reference_agree_with_finite_differences(case: Case) -> None:
    case = case.at(2, 3, 2, 3)
    assert torch.autograd.gradcheck(case.layer(reference=True), case.tensors())


@pytest.mark.parametrize(
    ("name", "module"), [("lstm", nn.LSTM), ("gru-after", nn.GRU), ("rnn", nn.RNN)], ids=["lstm", "gru", "rnn"]
)
def test_reference_agrees_with_the_module(name: str, module: type[nn.RNNBase]) -> None:
    x, *state = Case(name, sizes=(3, 6, 2, 5)).tensors()[: 1 + len(CELLS[name].state)]
    layer = module(2, 5, batch_first=True).double()
    stacked = tuple(part[None] for part in state)
    expected, last = layer(x, stacked if name == "lstm" else stacked[0])
    parameters = dict(zip(CELLS[name].shapes(2, 5), layer.parameters(), strict=True))
    output, after = reference_layer(CELLS[name], x, tuple(state), parameters)
    assert_all_close([output, *after], [expected, *(part[0] for part in (last if name == "lstm" else [last]))])


@each(CASES)
def test_a_sequence_in_two_pieces_is_the_sequence(case: Case, way: torch.dtype) -> None:
    case = case.at(2, 9, 3, 5)
    x, *tensors = case.tensors(way)
    parts = len(CELLS[case.cell].state)
    whole = case.layer()(x, *tensors)
    first, *state = case.layer(steps=slice(0, 4))(x, *tensors)
    second, *state = case.layer(steps=slice(4, 9))(x, *state, *tensors[parts:])
    assert_all_close([torch.cat([first, second], 1), *state], whole)


@pytest.mark.parametrize("time", [1, 6])
@each([*SOME, Case("gru-after", symbols=True)])
def test_without_gradients_the_values_are_the_same(case: Case, way: torch.dtype, time: int) -> None:
    case = case.at(2, time, 3, 5)
    tensors = case.tensors(way)
    expected = case.layer(reference=True)(*tensors)
    with torch.no_grad():
        assert_all_close(case.layer()(*tensors), expected)


@pytest.mark.parametrize("case", [*PLAIN, Case("lstm", norm=True)], ids=str)
def test_shapes_are_found_on_the_meta_device(case: Case) -> None:
    """There are no numbers on it, and no autocast."""
    tensors = [tensor.detach().to("meta").requires_grad_() for tensor in case.tensors(torch.float32)]
    output, *state = case.layer()(*tensors)
    batch, time, _, hidden = case.sizes
    assert output.is_meta
    assert [output.shape, *(part.shape for part in state)] == [(batch, time, hidden), *[(batch, hidden)] * len(state)]
    grads = torch.autograd.grad(output.sum(), tensors, materialize_grads=True)
    assert [grad.shape for grad in grads] == [tensor.shape for tensor in tensors]


@each(SOME)
def test_non_contiguous_tensors_give_the_same(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(way)
    strided = [with_gaps(tensor) for tensor in tensors]
    assert not any(tensor.is_contiguous() for tensor in strided)
    assert_all_close(outputs_and_gradients(case.layer(), strided), outputs_and_gradients(case.layer(), tensors))


@each(SOME)
def test_one_gradient_alone_is_the_same_as_among_all(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(way)
    outputs = len(CELLS[case.cell].state) + 1
    expected = outputs_and_gradients(case.layer(), tensors)[outputs:]
    for wanted in range(len(tensors)):
        for position, tensor in enumerate(tensors):
            tensor.requires_grad_(position == wanted)
        assert_all_close(outputs_and_gradients(case.layer(), tensors)[outputs:], [expected[wanted]])


@each(SOME)
def test_gradients_of_one_result_alone_in_any_layout(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(way)
    wide = [tensor.detach().double().requires_grad_() for tensor in tensors]
    outputs, expected = case.layer()(*tensors), case.layer(reference=True)(*wide)
    for output, right in zip(outputs, expected, strict=True):
        grad = torch.randn(output.shape[::-1], dtype=way)
        for of_output in (torch.ones(()).to(way).expand_as(output), grad.permute(*range(grad.dim())[::-1])):
            options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
            found = torch.autograd.grad(output, tensors, of_output, **options)
            assert_all_close(found, torch.autograd.grad(right, wide, of_output.double(), **options))


@each(SOME)
def test_going_back_twice_gives_the_same_twice_and_changes_no_argument(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(way)
    copies = [tensor.detach().clone() for tensor in tensors]
    output, *_ = case.layer()(*tensors)
    first, second = (torch.autograd.grad(output.square().sum(), tensors, retain_graph=True) for _ in range(2))
    assert_same(first, second)
    assert_same(tensors, copies)


@each(CASES)
def test_all_that_is_kept_can_be_counted_and_is_freed(case: Case, way: torch.dtype) -> None:
    assert_keeps_openly(case.layer(), case.tensors(way))


@each(SOME)
def test_second_derivatives_are_refused_not_wrong(case: Case, way: torch.dtype) -> None:
    tensors = case.tensors(way)
    (gradient,) = torch.autograd.grad(case.layer()(*tensors)[0].square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@each(SOME)
def test_output_changed_in_place_is_noticed(case: Case, way: torch.dtype) -> None:
    output, *_ = case.layer()(*case.tensors(way))
    with pytest.raises(RuntimeError, match="modified inplace"):
        output.mul_(2).sum().backward()


@each([*PLAIN, *SOME])
def test_not_a_number_shows_in_its_sequence_alone(case: Case, way: torch.dtype) -> None:
    case = Case(case.cell, case.norm, sizes=(3, 6, 4, 17))
    x, *others = case.tensors(way)
    with torch.no_grad():
        x[1, 2, 3] = torch.nan
    output, *state = case.layer()(x, *others)
    assert output[1, 2:].isnan().all()
    assert all(part[1].isnan().all() for part in state)
    assert output[1, :2].isfinite().all()
    assert output[::2].isfinite().all()
    assert torch.autograd.grad(output.sum(), others[-1])[0].isnan().any()
