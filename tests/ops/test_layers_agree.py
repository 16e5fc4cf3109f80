"""Every fast path against its reference and against PyTorch's own modules: output, final state, every gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from char_rnn.ops import gru, gru_reference, lstm, lstm_reference, rnn, rnn_reference

Layer = Callable[..., tuple[Tensor, Tensor]]


def flat_state(layer: Callable[..., tuple[Tensor, tuple[Tensor, Tensor]]]) -> Layer:
    """Give an LSTM the signature of the others: its state as h and c side by side, (B, 2H)."""

    def run(x: Tensor, hidden: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        h, c = hidden.chunk(2, 1)
        output, state = layer(x, (h, c), *weights)
        return output, torch.cat(state, 1)

    return run


# name: fast path, reference, gates, tensors in the state
LAYERS: dict[str, tuple[Layer, Layer, int, int]] = {
    "lstm": (flat_state(lstm), flat_state(lstm_reference), 4, 2),
    "gru-after": (partial(gru, reset="after"), partial(gru_reference, reset="after"), 3, 1),
    "gru-before": (partial(gru, reset="before"), partial(gru_reference, reset="before"), 3, 1),
    "rnn": (rnn, rnn_reference, 1, 1),
}
SIZES = [(1, 1, 1, 1), (1, 7, 3, 5), (3, 1, 2, 4), (5, 2, 1, 3), (2, 13, 9, 17), (7, 33, 31, 65)]
each_layer = pytest.mark.parametrize("name", LAYERS)
each_size = pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "B{}-T{}-I{}-H{}".format(*sizes))


def arguments(name: str, sizes: tuple[int, int, int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    batch, time, inputs, hidden = sizes
    rows, parts = LAYERS[name][2] * hidden, LAYERS[name][3]
    shapes = [
        (batch, time, inputs),
        (batch, parts * hidden),
        (rows, inputs),
        (rows, hidden),
        (rows,),
        (rows,),
    ]
    generator = torch.Generator().manual_seed(7)
    scale = hidden**-0.5  # Larger weights make the recurrence chaotic, and rounding errors grow with every step.
    return [torch.randn(shape, generator=generator, dtype=dtype).mul_(scale).requires_grad_() for shape in shapes]


def outputs_and_gradients(layer: Layer, tensors: list[Tensor]) -> list[Tensor]:
    """The layer's output and state, then the gradients of a loss that weighs every element of both differently."""
    output, state = layer(*tensors)
    loss = (output * ramp(output)).sum() + (state * ramp(state)).sum()
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    return [output, state, *torch.autograd.grad(loss, wanted)]


def ramp(tensor: Tensor) -> Tensor:
    return torch.linspace(-1, 2, tensor.numel(), dtype=tensor.dtype).view(tensor.shape)


def assert_all_close(actual: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}[dtype]
    for left, right in zip(actual, expected, strict=True):
        scale = max(1.0, right.abs().max().item())
        torch.testing.assert_close(left, right, rtol=0, atol=tolerance * scale)


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
    strided = [_with_gaps(tensor) for tensor in tensors]
    assert not any(tensor.is_contiguous() for tensor in strided)
    assert_all_close(outputs_and_gradients(fast, strided), outputs_and_gradients(fast, tensors), torch.float64)


def _with_gaps(tensor: Tensor) -> Tensor:
    wide = torch.stack([tensor.detach(), torch.full_like(tensor, torch.nan)], -1)
    return wide[..., 0].requires_grad_()


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
