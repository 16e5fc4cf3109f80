"""What the tests of the layers share: the layers, sizes, made arguments, and what is compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from storages import Storages, address
from torch import Tensor

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


def assert_keeps_openly(layer: Layer, tensors: list[Tensor]) -> None:
    """What is kept for the backward pass goes through hooks that count it, and is let go of when that is done."""
    saved = set()

    def pack(tensor: Tensor) -> Tensor:
        saved.add(address(tensor))
        return tensor

    with Storages() as storages, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, state = layer(*tensors)
    shown = {address(output), address(state)}
    assert storages.in_use().keys() - shown <= saved
    torch.autograd.grad(output.sum() + state.sum(), tensors)
    assert storages.in_use().keys() == shown


def with_gaps(tensor: Tensor) -> Tensor:
    wide = torch.stack([tensor.detach(), torch.full_like(tensor, torch.nan)], -1)
    return wide[..., 0].requires_grad_()
