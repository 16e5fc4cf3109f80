"""Passes through single recurrent layers: PyTorch's modules and this package's, checked and timed in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from char_rnn import ops
from char_rnn.bench.timing import in_turn, ratio
from char_rnn.cells import GRU, LSTM, RNN, Cell

Side = Callable[[], object]

LAYERS: dict[str, tuple[Any, Cell]] = {
    "lstm": (nn.LSTM, LSTM()),
    "gru after": (nn.GRU, GRU("after")),
    "gru before": (nn.GRU, GRU("before")),
    "rnn": (nn.RNN, RNN()),
}
"""By name: PyTorch's module and our cell."""


@dataclass(frozen=True)
class Turns:
    """How layers are timed.

    Attributes:
        batch: sequences in a training pass, B.
        time: its steps, T.
        rounds: turns of each side.
        seconds: length of a turn, roughly.
        device: where.
    """

    batch: int = 50
    time: int = 50
    rounds: int = 9
    seconds: float = 0.3
    device: str = "cpu"


def check(layer: str) -> None:
    """Stop if the layer is not its reference: a wrong result has no speed."""
    make_module, cell = LAYERS[layer]
    module = make_module(5, 7, batch_first=True)
    results = []
    for run, dtype in (ops.run_layer, torch.float32), (ops.reference_layer, torch.float64):
        module, x = module.to(dtype), torch.linspace(-1, 1, 135, dtype=dtype).view(3, 9, 5)
        weights = list(module.parameters())
        output, _ = run(cell, x, zero_state(layer, 3, module), named(layer, weights))
        results.append([tensor.double() for tensor in (output, *torch.autograd.grad(output.sum(), weights))])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def compare(layer: str, task: str, batch: int, steps: int, hidden: int, turns: Turns) -> dict[str, str | int | float]:
    """Time PyTorch's module and our layer in turn; return a row of the table."""
    make_module, cell = LAYERS[layer]
    module = make_module(hidden, hidden, batch_first=True).to(turns.device)
    weights = list(module.parameters())
    x = torch.randn(batch, steps, hidden, device=turns.device, requires_grad=task == "train")
    state = zero_state(layer, batch, module)
    as_pass = train_pass if task == "train" else step_pass
    sides = {
        "PyTorch": as_pass(lambda: module(x, stacked(state))[0], [x, *weights]),
        "ours": as_pass(lambda: ops.run_layer(cell, x, state, named(layer, weights))[0], [x, *weights]),
    }
    sizes = {"batch": batch, "time": steps, "hidden": hidden}
    return {"layer": layer, "task": task, **sizes, **timed(sides, "speed-up", turns)}


def timed(sides: dict[str, Side], ratio_name: str, turns: Turns) -> dict[str, float]:
    """Run two sides in turn; return the milliseconds of each and how many times as fast the second is."""
    first, second = sides
    repeats = max(1, int(turns.seconds / seconds_of(sides[first], turns.device)))
    each = {name: repeated(side, repeats, turns.device) for name, side in sides.items()}
    timings = in_turn(each, turns.rounds)
    milliseconds = {f"{name} ms": timing.median / repeats * 1000 for name, timing in timings.items()}
    return {**milliseconds, ratio_name: ratio(timings, first, second)}


def named(layer: str, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the parameters of a module, or more, by their names in the cell's equations."""
    cell = LAYERS[layer][1]
    names = (*cell.shapes(1, 1), *cell.normalization)
    return dict(zip(names, parameters, strict=False))


def zero_state(layer: str, batch: int, module: nn.RNNBase) -> tuple[Tensor, ...]:
    """Return the state our layers take, (B, H) each."""
    zeros = next(module.parameters()).new_zeros(batch, module.hidden_size)
    return (zeros,) * len(LAYERS[layer][1].state)


def stacked(state: tuple[Tensor, ...]) -> Any:
    """Return the state PyTorch's modules take: with a dimension for the layers in front."""
    parts = tuple(part[None] for part in state)
    return parts if len(parts) > 1 else parts[0]


def train_pass(forward: Callable[[], Tensor], inputs: list[Tensor]) -> Callable[[], object]:
    """Return a forward and a backward pass."""
    grad_output = torch.randn_like(forward())
    return lambda: torch.autograd.grad(forward(), inputs, grad_output)


def step_pass(forward: Callable[[], Tensor], _: list[Tensor]) -> Callable[[], object]:
    """Return a pass without gradients."""

    def step() -> Tensor:
        with torch.inference_mode():
            return forward()

    return step


def seconds_of(side: Callable[[], object], device: str) -> float:
    """Return the seconds of one call, after one to warm up."""
    side()
    synchronize(device)
    began = time.perf_counter()
    side()
    synchronize(device)
    return time.perf_counter() - began


def repeated(side: Callable[[], object], repeats: int, device: str) -> Callable[[], None]:
    """Return a turn: the call so many times, and the wait for the device at the end."""

    def turn() -> None:
        for _ in range(repeats):
            side()
        synchronize(device)

    return turn


def synchronize(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device.startswith("mps"):
        torch.mps.synchronize()
