"""The layers with products in a low-precision type: exact where the type is not low, near where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from ops_helpers import (
    LAYERS,
    SIZES,
    Layer,
    arguments,
    assert_all_close,
    assert_keeps_openly,
    each_layer,
    each_size,
    flat_state,
    outputs_and_gradients,
    with_gaps,
)
from torch import Tensor

from char_rnn import ops
from char_rnn.ops.gru_mixed import gru_mixed
from char_rnn.ops.lstm_mixed import lstm_mixed
from char_rnn.ops.rnn_mixed import rnn_mixed

MIXED: dict[str, Callable[[torch.dtype], Layer]] = {
    "lstm": lambda products: flat_state(partial(lstm_mixed, products=products)),
    "gru-after": lambda products: partial(gru_mixed, products=products, before=False),
    "gru-before": lambda products: partial(gru_mixed, products=products, before=True),
    "rnn": lambda products: partial(rnn_mixed, products=products),
}
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11}


def in_autocast(name: str, products: torch.dtype = torch.bfloat16) -> Layer:
    """The public layer as the trainer runs it: the forward pass alone is inside autocast."""

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=products):
            return LAYERS[name][0](*tensors)

    return run


def assert_near(actual: list[Tensor], expected: list[Tensor], rounding: float) -> None:
    """Every tensor within six roundings of its largest element: those of two factors, a product, a sum, and back."""
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(left.double(), right, rtol=0, atol=6 * rounding * right.abs().max().item())


@each_layer
@each_size
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_with_exact_products_it_is_the_reference(
    name: str, sizes: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    tensors = arguments(name, sizes, dtype)
    assert_all_close(
        outputs_and_gradients(MIXED[name](dtype), tensors), outputs_and_gradients(LAYERS[name][1], tensors), dtype
    )


@each_layer
def test_gradients_agree_with_finite_differences(name: str) -> None:
    assert torch.autograd.gradcheck(MIXED[name](torch.float64), arguments(name, (2, 3, 2, 3)))


@each_layer
@pytest.mark.parametrize("sizes", [*SIZES, (5, 21, 64, 96)], ids=str)
@pytest.mark.parametrize("products", ROUNDING)
def test_under_autocast_it_is_near_the_reference(
    name: str, sizes: tuple[int, int, int, int], products: torch.dtype
) -> None:
    expected = outputs_and_gradients(LAYERS[name][1], arguments(name, sizes))
    tensors = [tensor.detach().float().requires_grad_() for tensor in arguments(name, sizes)]
    assert_near(outputs_and_gradients(in_autocast(name, products), tensors), expected, ROUNDING[products])


@each_layer
def test_types_under_autocast(name: str) -> None:
    tensors = arguments(name, (2, 4, 3, 5), torch.float32)
    output, state = in_autocast(name)(*tensors)
    assert (output.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert {gradient.dtype for gradient in torch.autograd.grad(output.sum(), tensors)} == {torch.float32}


@each_layer
def test_the_state_is_not_rounded_to_the_type_of_the_products(name: str) -> None:
    _, state = in_autocast(name)(*arguments(name, (2, 4, 3, 5), torch.float32))
    assert not torch.equal(state, state.bfloat16().float())


@each_layer
def test_low_precision_input_gets_a_gradient_of_its_type(name: str) -> None:
    x, *others = arguments(name, (2, 4, 3, 5), torch.float32)
    x = x.detach().bfloat16().requires_grad_()
    output, _ = in_autocast(name)(x, *others)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert gradient.dtype == torch.bfloat16


@each_layer
def test_double_precision_is_left_alone(name: str) -> None:
    tensors = arguments(name, (2, 4, 3, 5))
    assert_all_close(
        outputs_and_gradients(in_autocast(name), tensors),
        outputs_and_gradients(LAYERS[name][0], tensors),
        torch.float64,
    )


@each_layer
def test_non_contiguous_tensors_give_the_same(name: str) -> None:
    fast = MIXED[name](torch.float64)
    tensors = arguments(name, (4, 6, 3, 5))
    strided = [with_gaps(tensor) for tensor in tensors]
    assert_all_close(outputs_and_gradients(fast, strided), outputs_and_gradients(fast, tensors), torch.float64)


@each_layer
@pytest.mark.parametrize("wanted", range(6), ids=["x", "hidden", "weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_one_gradient_alone_is_the_same_as_among_all(name: str, wanted: int) -> None:
    fast = MIXED[name](torch.float64)
    tensors = arguments(name, (2, 4, 3, 5))
    expected = outputs_and_gradients(fast, tensors)[2 + wanted]
    for position, tensor in enumerate(tensors):
        tensor.requires_grad_(position == wanted)
    assert_all_close([outputs_and_gradients(fast, tensors)[2]], [expected], torch.float64)


@each_layer
def test_a_gradient_of_the_output_or_of_the_state_alone(name: str) -> None:
    tensors = arguments(name, (3, 5, 2, 4))
    for part in range(2):
        gradients = [
            torch.autograd.grad(layer(*tensors)[part].sum(), tensors, allow_unused=True, materialize_grads=True)
            for layer in (MIXED[name](torch.float64), LAYERS[name][1])
        ]
        assert_all_close(list(gradients[0]), list(gradients[1]), torch.float64)


@each_layer
def test_going_back_twice_gives_the_same_twice(name: str) -> None:
    tensors = arguments(name, (3, 5, 2, 4))
    output, _ = MIXED[name](torch.float64)(*tensors)
    first, second = (torch.autograd.grad(output.sum(), tensors, retain_graph=True) for _ in range(2))
    assert all(torch.equal(left, right) for left, right in zip(first, second, strict=True))


@each_layer
@pytest.mark.parametrize("time", [1, 6])
def test_without_gradients_the_values_are_the_same(name: str, time: int) -> None:
    tensors = arguments(name, (2, time, 3, 5), torch.float32)
    expected = in_autocast(name)(*tensors)
    with torch.no_grad():
        values = in_autocast(name)(*tensors)
    assert all(torch.equal(left, right) for left, right in zip(values, expected, strict=True))


@each_layer
def test_arguments_are_left_as_they_were(name: str) -> None:
    tensors = arguments(name, (2, 4, 3, 5))
    copies = [tensor.detach().clone() for tensor in tensors]
    outputs_and_gradients(MIXED[name](torch.float64), tensors)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(tensors, copies, strict=True))


@each_layer
def test_second_derivatives_are_refused_not_wrong(name: str) -> None:
    tensors = arguments(name, (2, 3, 2, 3))
    output, _ = MIXED[name](torch.float64)(*tensors)
    (gradient,) = torch.autograd.grad(output.square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_other_devices_compute_in_bfloat16_as_asked(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    """As on CUDA, where autocast would take float16: PyTorch's own kernels get bfloat16 tensors; here on the CPU."""
    size = {"lstm": 4, "gru": 3, "rnn": 1}[cell] * 6
    weights = [torch.randn(shape) / 3 for shape in ((size, 5), (size, 6), (size,), (size,))]
    x, h = torch.randn(2, 7, 5), torch.randn(2, 6)
    hidden = (h, h) if cell == "lstm" else h
    expected = getattr(ops, cell)(x, hidden, *weights)[0]
    module = sys.modules[f"char_rnn.ops.{cell}"]
    monkeypatch.setattr(module, f"{cell}_mixed", None)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, last = getattr(ops, cell)(x, hidden, *weights)
    assert output.dtype == torch.bfloat16
    assert (last[0] if cell == "lstm" else last).dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0, atol=0.05)


@each_layer
def test_all_that_is_kept_can_be_counted_and_is_freed(name: str) -> None:
    assert_keeps_openly(in_autocast(name), arguments(name, (3, 5, 4, 6), torch.float32))
