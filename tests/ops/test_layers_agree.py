"""Every fast path against its reference and against PyTorch's own modules: output, final state, every gradient."""

from __future__ import annotations

import pytest
import torch
from ops_helpers import (
    LAYERS,
    arguments,
    assert_all_close,
    assert_keeps_openly,
    each_layer,
    each_size,
    outputs_and_gradients,
    with_gaps,
)
from torch import nn


@each_layer
@each_size
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_fast_path_agrees_with_the_reference(name: str, sizes: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    fast, reference, *_ = LAYERS[name]
    tensors = arguments(name, sizes, dtype)
    assert_all_close(outputs_and_gradients(fast, tensors), outputs_and_gradients(reference, tensors), dtype)


@each_layer
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "reference"])
def test_gradients_agree_with_finite_differences(name: str, fast: bool) -> None:
    layer = LAYERS[name][0 if fast else 1]
    assert torch.autograd.gradcheck(layer, arguments(name, (2, 3, 2, 3)))


@each_layer
def test_non_contiguous_tensors_give_the_same(name: str) -> None:
    fast = LAYERS[name][0]
    tensors = arguments(name, (4, 6, 3, 5))
    strided = [with_gaps(tensor) for tensor in tensors]
    assert not any(tensor.is_contiguous() for tensor in strided)
    assert_all_close(outputs_and_gradients(fast, strided), outputs_and_gradients(fast, tensors), torch.float64)


@each_layer
@pytest.mark.parametrize("wanted", range(6), ids=["x", "hidden", "weight_ih", "weight_hh", "bias_ih", "bias_hh"])
def test_one_gradient_alone_is_the_same_as_among_all(name: str, wanted: int) -> None:
    fast = LAYERS[name][0]
    tensors = arguments(name, (2, 4, 3, 5))
    expected = outputs_and_gradients(fast, tensors)[2 + wanted]
    for position, tensor in enumerate(tensors):
        tensor.requires_grad_(position == wanted)
    assert_all_close([outputs_and_gradients(fast, tensors)[2]], [expected], torch.float64)


@each_layer
def test_an_expanded_output_gradient_is_no_trouble(name: str) -> None:
    fast, reference, *_ = LAYERS[name]
    tensors = arguments(name, (3, 5, 2, 4))
    gradients = [torch.autograd.grad(layer(*tensors)[0].sum(), tensors) for layer in (fast, reference)]
    assert_all_close(list(gradients[0]), list(gradients[1]), torch.float64)


@each_layer
@pytest.mark.parametrize("time", [1, 2, 4, 5, 9])
def test_without_gradients_the_values_are_the_same(name: str, time: int) -> None:
    fast, reference, *_ = LAYERS[name]
    tensors = arguments(name, (2, time, 3, 5), torch.float32)
    with torch.no_grad():
        assert_all_close(list(fast(*tensors)), list(reference(*tensors)), torch.float32)


@each_layer
def test_a_sequence_in_two_pieces_is_the_sequence(name: str) -> None:
    fast = LAYERS[name][0]
    x, hidden, *weights = arguments(name, (2, 9, 3, 5))
    whole, last = fast(x, hidden, *weights)
    first_piece, state = fast(x[:, :4], hidden, *weights)
    second_piece, state = fast(x[:, 4:], state, *weights)
    assert_all_close([torch.cat([first_piece, second_piece], 1), state], [whole, last], torch.float64)


@each_layer
def test_arguments_are_left_as_they_were(name: str) -> None:
    tensors = arguments(name, (2, 4, 3, 5))
    copies = [tensor.detach().clone() for tensor in tensors]
    outputs_and_gradients(LAYERS[name][0], tensors)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(tensors, copies, strict=True))


@pytest.mark.parametrize(
    ("name", "module"), [("lstm", nn.LSTM), ("gru-after", nn.GRU), ("rnn", nn.RNN)], ids=["lstm", "gru", "rnn"]
)
def test_reference_agrees_with_the_module(name: str, module: type[nn.RNNBase]) -> None:
    x, hidden, *_ = arguments(name, (3, 6, 2, 5))
    layer = module(2, 5, batch_first=True).double()
    state = tuple(part[None] for part in hidden.chunk(2, 1)) if name == "lstm" else hidden[None]
    expected, last = layer(x, state)
    last = torch.cat(last, -1) if name == "lstm" else last
    output, state = LAYERS[name][1](x, hidden, *layer.parameters())
    assert_all_close([output, state], [expected, last[0]], torch.float64)


@each_layer
def test_all_that_is_kept_can_be_counted_and_is_freed(name: str) -> None:
    assert_keeps_openly(LAYERS[name][0], arguments(name, (3, 5, 4, 6)))
