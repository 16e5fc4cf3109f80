"""Layers with their options, arguments for them, and comparisons with the reference in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from storages import Storages, address
from torch import Tensor

from char_rnn.cells import (
    GRU,
    LSTM,
    RNN,
    SLSTM,
    Cell,
    MinGRU,
    MinLSTM,
    Value,
    concatenate,
    relu,
    rows,
    sigmoid,
    split,
    tanh,
)
from char_rnn.ops import reference_layer, run_layer

Layer = Callable[..., tuple[Tensor, ...]]
Sizes = tuple[int, int, int, int]
"""B, T, I, H."""


class Peephole(Cell):
    """A user's own cell: an LSTM whose gates read c (Gers and Schmidhuber 2000), one part of the state cut in two."""

    gates, state = 4, ("h", "c")
    vectors: ClassVar = {"peephole_i": 1, "peephole_f": 1, "peephole_o": 1}

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        h, c = state
        i, f, g, o = split(p.weight_ih @ x + p.weight_hh @ h + p.bias_ih + p.bias_hh, 1, 1, 1, 1)
        i, f = sigmoid(i + p.peephole_i * c), sigmoid(f + p.peephole_f * c)
        c = f * c + i * tanh(g)
        return sigmoid(o + p.peephole_o * c) * tanh(c), c


class Mixture(Cell):
    """No one's cell: every operation of the language, values used twice, and two products in a row."""

    gates, state = 2, ("h", "c")

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        h, c = state
        upper, lower = split(p.weight_hh, 1, 1)
        both = relu(p.weight_ih @ x + p.bias_ih + 0.5) - p.bias_hh
        side_by_side = concatenate(tanh(both), -h, 1 - c, 0.5 * h)
        first, second = rows(side_by_side, 0, h.width), rows(side_by_side, h.width, 3 * h.width)
        old, other = split(second * second, 1, 1)
        inner = sigmoid(upper @ (first + h))
        return tanh(lower @ inner + upper @ c + old), 0.3 * c + inner * other


CELLS: dict[str, Cell] = {
    "lstm": LSTM(),
    "gru-after": GRU("after"),
    "gru-before": GRU("before"),
    "rnn": RNN(),
    "mingru": MinGRU(),
    "minlstm": MinLSTM(),
    "slstm": SLSTM(),
    "peephole": Peephole(),
    "mixture": Mixture(),
}
OURS = ("lstm", "gru-after", "gru-before", "rnn", "mingru", "minlstm", "slstm")
WAYS = {"kernels": torch.float32, "derived": torch.float64, "pytorch": torch.float64}
"""Ways to run a layer, and the type in which the tests run it that way."""
ALPHABET = 5


@dataclass(frozen=True)
class Case:
    """A layer with options: normalization, zoneout by masks or by numbers, mogrifier rounds, symbols for input."""

    cell: str
    norm: bool = False
    zoneout: str = ""
    rounds: int = 0
    symbols: bool = False
    sizes: Sizes = (3, 5, 4, 6)

    def __str__(self) -> str:
        rounds = f"mogrifier{self.rounds}" * bool(self.rounds)
        options = "norm" * self.norm, self.zoneout, rounds, "symbols" * self.symbols
        return " ".join([self.cell, *filter(None, options)])

    def at(self, *sizes: int) -> Case:
        return replace(self, sizes=sizes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return CELLS[self.cell].shapes(*self.sizes[2:], normed=self.norm, mogrifier=self.rounds)

    def tensors(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """The input or the table of the symbols, the parts of the state, the parameters."""
        batch, time, inputs, hidden = self.sizes
        generator = torch.Generator().manual_seed(7)
        x = (ALPHABET, inputs) if self.symbols else (batch, time, inputs)
        shapes = [x, *[(batch, hidden)] * len(CELLS[self.cell].state), *self.shapes.values()]
        scale = hidden**-0.5  # Larger weights make the recurrence chaotic, and rounding errors grow with every step.
        return [torch.randn(each, generator=generator, dtype=dtype).mul_(scale).requires_grad_() for each in shapes]

    def masks(self) -> list[Tensor]:
        """Those of zoneout, (T, B, H), for each part of the state."""
        batch, time, _, hidden = self.sizes
        generator = torch.Generator().manual_seed(8)
        return [torch.rand(time, batch, hidden, generator=generator) < 0.7 for _ in CELLS[self.cell].state]

    def layer(self, *, reference: bool = False, steps: slice = slice(None)) -> Layer:
        """The layer as a function of these tensors, on all steps or some, to the output and the parts of the state."""
        cell, (batch, time, _, _) = CELLS[self.cell], self.sizes
        count, generator = len(cell.state), torch.Generator().manual_seed(9)
        symbols = torch.randint(ALPHABET, (batch, time), generator=generator)[:, steps]

        def run(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            state, parameters = tensors[:count], dict(zip(self.shapes, tensors[count:], strict=True))
            zoneout: Any = {
                "": None,
                "mask": [mask[steps].to(x.dtype) for mask in self.masks()],
                "number": [0.7] * count,
                "one": [1.0] * count,
                "h alone": [1.0, 0.0],
            }[self.zoneout]
            if not self.symbols:
                x = x[:, steps]
            if reference:
                output, after = reference_layer(cell, x[symbols] if self.symbols else x, state, parameters, zoneout)
            else:
                given = symbols if self.symbols else None
                output, after = run_layer(cell, x, state, parameters, zoneout, symbols=given)
            return output, *after

        return run


def exact(case: Case, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Output, state and gradients of the reference in float64."""
    wide = [tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in tensors]
    return outputs_and_gradients(case.layer(reference=True), wide)


def outputs_and_gradients(layer: Layer, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Output and state, then the gradients of a loss that weighs every element of them differently."""
    outputs = layer(*tensors)
    loss = sum((output * ramp(output)).sum() for output in outputs)
    return [*outputs, *torch.autograd.grad(loss, [tensor for tensor in tensors if tensor.requires_grad])]


def ramp(tensor: Tensor) -> Tensor:
    return torch.linspace(-1, 2, tensor.numel(), dtype=tensor.dtype).view(tensor.shape)


def assert_all_close(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for left, right in zip(actual, expected, strict=True):
        tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}[left.dtype]
        scale = max(1.0, right.abs().max().item())
        torch.testing.assert_close(left.double(), right.double(), rtol=0, atol=tolerance * scale)


def assert_same(left: Sequence[Tensor], right: Sequence[Tensor]) -> None:
    assert all(torch.equal(*pair) for pair in zip(left, right, strict=True))


def assert_keeps_openly(layer: Layer, tensors: Sequence[Tensor]) -> None:
    """What is kept for the backward pass goes through hooks that count it, and is let go of when that is done."""
    saved = set()

    def pack(tensor: Tensor) -> Tensor:
        saved.add(address(tensor))
        return tensor

    with Storages() as storages, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = layer(*tensors)
    shown = {address(output) for output in outputs}
    assert storages.in_use().keys() - shown <= saved
    torch.autograd.grad(sum(output.sum() for output in outputs), tensors)
    assert storages.in_use().keys() == shown


def with_gaps(tensor: Tensor) -> Tensor:
    wide = torch.stack([tensor.detach(), torch.full_like(tensor, torch.nan)], -1)
    return wide[..., 0].requires_grad_()


def each(cases: Sequence[Case], ways: Sequence[str] = ("kernels", "derived")) -> pytest.MarkDecorator:
    """Parametrize `case` and the fixture `way`."""
    return pytest.mark.parametrize(
        ("case", "way"), [(case, way) for case in cases for way in ways], ids=str, indirect=["way"]
    )
