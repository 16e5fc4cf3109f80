"""Speed of single recurrent layers: PyTorch's modules and this package's, checked against the reference first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from char_rnn import ops
from char_rnn.bench.suites import ResultTable, Settings
from char_rnn.bench.timing import Repeated, ratio, timed_each
from char_rnn.cells import GRU, LSTM, RNN, Cell
from char_rnn.utils.device import synchronize

Side = Callable[[], object]
Row = dict[str, str | int | float]

HIDDEN, QUICK_HIDDEN = (128, 512), (128,)
NOTE = (
    "Milliseconds, medians; the two layers run in turn, after a check against the reference. train: forward and "
    "backward over 50 sequences of 50 steps. step: one character. PyTorch has no GRU whose reset gate comes before "
    "the product, so that layer is compared with nn.GRU, which has as many operations."
)
LAYERS: dict[str, tuple[Any, Cell]] = {
    "lstm": (nn.LSTM, LSTM()),
    "gru after": (nn.GRU, GRU("after")),
    "gru before": (nn.GRU, GRU("before")),
    "rnn": (nn.RNN, RNN()),
}
"""PyTorch's module and this package's cell, by name."""


@dataclass(frozen=True)
class Turns:
    """How layers are timed: turns of about ``seconds``, with B sequences of T steps in a training pass."""

    batch: int = 50
    time: int = 50
    rounds: int = 9
    seconds: float = 0.3
    device: str = "cpu"


def measure(settings: Settings) -> list[ResultTable]:
    """Run the suite."""
    turns = Turns(rounds=settings.rounds, seconds=0.1 if settings.quick else 0.3)
    rows = []
    for layer in LAYERS:
        check(layer)
        for hidden in QUICK_HIDDEN if settings.quick else HIDDEN:
            settings.progress(f"layers, {layer} {hidden}")
            rows.append(compare(layer, "train", turns.batch, turns.time, hidden, turns))
            rows.append(compare(layer, "step", 1, 1, hidden, turns))
    return [ResultTable("layers", rows, NOTE)]


def check(layer: str) -> None:
    """Raise AssertionError if a layer differs from its reference; the speed of a wrong result means nothing."""
    make_module, cell = LAYERS[layer]
    module = make_module(5, 7, batch_first=True)
    results = []
    for run, dtype in (ops.run_layer, torch.float32), (ops.reference_layer, torch.float64):
        module, x = module.to(dtype), torch.linspace(-1, 1, 135, dtype=dtype).view(3, 9, 5)
        weights = list(module.parameters())
        output, _ = run(cell, x, zero_state(layer, 3, module), named(layer, weights))
        results.append([tensor.double() for tensor in (output, *torch.autograd.grad(output.sum(), weights))])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def compare(layer: str, task: str, batch: int, steps: int, hidden: int, turns: Turns) -> Row:
    """Time PyTorch's module and this package's layer in turn."""
    make_module, cell = LAYERS[layer]
    module = make_module(hidden, hidden, batch_first=True).to(turns.device)
    weights = list(module.parameters())
    x = torch.randn(batch, steps, hidden, device=turns.device, requires_grad=task == "train")
    state = zero_state(layer, batch, module)
    stacked = tuple(part[None] for part in state)  # with PyTorch's dimension for the layers
    given: Any = stacked if len(stacked) > 1 else stacked[0]
    as_pass = train_pass if task == "train" else step_pass
    sides = {
        "PyTorch": as_pass(lambda: module(x, given)[0], [x, *weights]),
        "ours": as_pass(lambda: ops.run_layer(cell, x, state, named(layer, weights))[0], [x, *weights]),
    }
    sizes = {"batch": batch, "time": steps, "hidden": hidden}
    return {"layer": layer, "task": task, **sizes, **timed(sides, "speed-up", turns)}


def timed(sides: dict[str, Side], ratio_name: str, turns: Turns) -> dict[str, float]:
    """Time two sides in turn; return the milliseconds of each and the relative speed of the second."""
    runs = {name: repeated(side, turns.device) for name, side in sides.items()}
    timings = timed_each(runs, turns.rounds, turns.seconds)
    milliseconds = {f"{name} ms": timing.median * 1000 for name, timing in timings.items()}
    return {**milliseconds, ratio_name: ratio(timings, *sides)}


def named(layer: str, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return a module's parameters, and more, under their names in the cell's equations."""
    cell = LAYERS[layer][1]
    return dict(zip((*cell.shapes(1, 1), *cell.normalization), parameters, strict=False))


def zero_state(layer: str, batch: int, module: nn.RNNBase) -> tuple[Tensor, ...]:
    """Return the zero state of this package's layers, (B, H) each."""
    zeros = next(module.parameters()).new_zeros(batch, module.hidden_size)
    return (zeros,) * len(LAYERS[layer][1].state)


def train_pass(forward: Callable[[], Tensor], inputs: list[Tensor]) -> Side:
    """Return a forward and a backward pass."""
    grad_output = torch.randn_like(forward())
    return lambda: torch.autograd.grad(forward(), inputs, grad_output)


def step_pass(forward: Callable[[], Tensor], _: list[Tensor]) -> Side:
    """Return a pass without gradients."""
    return torch.inference_mode()(forward)


def repeated(side: Side, device: str) -> Repeated:
    """Return a function that calls a side some times, and waits for the device."""

    def run(count: int) -> None:
        for _ in range(count):
            side()
        synchronize(torch.device(device))

    return run
