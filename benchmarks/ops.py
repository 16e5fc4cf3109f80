"""How fast are the recurrent layers beside PyTorch's own modules?

    python benchmarks/ops.py [--hidden 128 512] [--layers "gru before"] [--threads N] [--rounds N] [--json FILE]

Each line compares one layer of ``char_rnn.ops`` with the module of the same shape. The GRU whose reset gate comes
before the product has none; it is held to ``nn.GRU``, which does as many operations. "train" is a forward and a
backward pass with the gradients of everything, "step" one character without gradients, as in sampling. Both sides
run in turn, after the layer has been checked against its reference; a speed-up above 1 is faster than PyTorch.

    python benchmarks/ops.py --precision bfloat16 [--hidden 512] [...]

compares "train" of our layer under autocast with our layer in float32 instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness import in_turn, parser, ratio, report
from torch import Tensor, nn

from char_rnn import ops

# name: PyTorch's module, our layer, its reference
LAYERS: dict[str, tuple[Any, Callable[..., Any], Callable[..., Any]]] = {
    "lstm": (nn.LSTM, ops.lstm, ops.lstm_reference),
    "gru after": (nn.GRU, ops.gru, ops.gru_reference),
    "gru before": (nn.GRU, partial(ops.gru, reset="before"), partial(ops.gru_reference, reset="before")),
    "rnn": (nn.RNN, ops.rnn, ops.rnn_reference),
}


def main() -> None:
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.precision:
        rows = [
            compare_precision(layer, hidden, arguments) for layer in arguments.layers for hidden in arguments.hidden
        ]
        title = f"Recurrent layers in {arguments.precision} against themselves in float32 (medians)"
        return report(title, rows, arguments.json, threads=torch.get_num_threads(), device=arguments.device)
    rows = []
    for layer in arguments.layers:
        check(layer)
        for hidden in arguments.hidden:
            rows.append(compare(layer, "train", arguments.batch, arguments.time, hidden, arguments))
            rows.append(compare(layer, "step", 1, 1, hidden, arguments))
    title = "Recurrent layers against PyTorch's modules (medians)"
    return report(title, rows, arguments.json, threads=torch.get_num_threads(), device=arguments.device)


def parse_arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    options.add_argument("--hidden", nargs="+", type=int, default=[128, 512], help="units, also the input size")
    options.add_argument("--batch", type=int, default=50, help="sequences in a training pass")
    options.add_argument("--time", type=int, default=50, help="steps in a training pass")
    options.add_argument("--rounds", type=int, default=9, help="turns of each side")
    options.add_argument("--seconds", type=float, default=0.3, help="length of a turn, roughly")
    options.add_argument("--device", default="cpu")
    options.add_argument("--precision", choices=["bfloat16", "float16"], help="compare with float32, not PyTorch")
    return options.parse_args()


def check(layer: str) -> None:
    """Stop if the layer is not its reference: a wrong result has no speed."""
    make_module, fast, reference = LAYERS[layer]
    module = make_module(5, 7, batch_first=True).double()
    x, state, weights = torch.randn(3, 9, 5).double(), zero_state(layer, 3, module), list(module.parameters())
    outputs = [function(x, state, *weights)[0] for function in (fast, reference)]
    gradients = [torch.autograd.grad(output.sum(), weights) for output in outputs]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-10)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


def compare(
    layer: str, task: str, batch: int, steps: int, hidden: int, arguments: argparse.Namespace
) -> dict[str, str | int | float]:
    """Time PyTorch's module and our layer in turn; return a row of the table."""
    make_module, fast, _ = LAYERS[layer]
    module = make_module(hidden, hidden, batch_first=True).to(arguments.device)
    weights = list(module.parameters())
    x = torch.randn(batch, steps, hidden, device=arguments.device, requires_grad=task == "train")
    state = zero_state(layer, batch, module)
    as_pass = train_pass if task == "train" else step_pass
    sides = {
        "PyTorch": as_pass(lambda: module(x, stacked(state))[0], [x, *weights]),
        "ours": as_pass(lambda: fast(x, state, *weights)[0], [x, *weights]),
    }
    repeats = max(1, int(arguments.seconds / seconds_of(sides["PyTorch"], arguments.device)))
    turns = {name: repeated(side, repeats, arguments.device) for name, side in sides.items()}
    timings = in_turn(turns, arguments.rounds)
    milliseconds = {f"{name} ms": timing.median / repeats * 1000 for name, timing in timings.items()}
    sizes = {"batch": batch, "time": steps, "hidden": hidden}
    return {"layer": layer, "task": task, **sizes, **milliseconds, "speed-up": ratio(timings, "PyTorch", "ours")}


def compare_precision(layer: str, hidden: int, arguments: argparse.Namespace) -> dict[str, str | int | float]:
    """Check our layer under autocast against its reference, then time it and float32 in turn."""
    make_module, fast, reference = LAYERS[layer]
    module = make_module(hidden, hidden, batch_first=True).to(arguments.device)
    weights = list(module.parameters())
    x = torch.randn(arguments.batch, arguments.time, hidden, device=arguments.device, requires_grad=True)
    state = zero_state(layer, arguments.batch, module)

    def low_precision() -> Tensor:
        with torch.autocast(arguments.device, dtype=getattr(torch, arguments.precision)):
            output: Tensor = fast(x, state, *weights)[0]
            return output

    expected = reference(x, state, *weights)[0]
    torch.testing.assert_close(low_precision().float(), expected, rtol=0, atol=0.03)
    gradients = [torch.autograd.grad(output.float().square().sum(), weights) for output in (low_precision(), expected)]
    for actual, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, exact, rtol=0, atol=0.03 * exact.abs().max().item())
    sides = {
        "float32": train_pass(lambda: fast(x, state, *weights)[0], [x, *weights]),
        arguments.precision: train_pass(low_precision, [x, *weights]),
    }
    repeats = max(1, int(arguments.seconds / seconds_of(sides["float32"], arguments.device)))
    turns = {name: repeated(side, repeats, arguments.device) for name, side in sides.items()}
    timings = in_turn(turns, arguments.rounds)
    milliseconds = {f"{name} ms": timing.median / repeats * 1000 for name, timing in timings.items()}
    sizes = {"batch": arguments.batch, "time": arguments.time, "hidden": hidden}
    speed_up = ratio(timings, "float32", arguments.precision)
    return {"layer": layer, "task": "train", **sizes, **milliseconds, "speed-up": speed_up}


def zero_state(layer: str, batch: int, module: nn.RNNBase) -> Any:
    """Return the state our layers take: (B, H), or a pair of them for the LSTM."""
    zeros = next(module.parameters()).new_zeros(batch, module.hidden_size)
    return (zeros, zeros) if layer == "lstm" else zeros


def stacked(state: Any) -> Any:
    """Return the state PyTorch's modules take: with a dimension for the layers in front."""
    return state[None] if isinstance(state, Tensor) else tuple(part[None] for part in state)


def train_pass(forward: Callable[[], Tensor], inputs: list[Tensor]) -> Callable[[], object]:
    grad_output = torch.randn_like(forward())
    return lambda: torch.autograd.grad(forward(), inputs, grad_output)


def step_pass(forward: Callable[[], Tensor], _: list[Tensor]) -> Callable[[], object]:
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
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device.startswith("mps"):
        torch.mps.synchronize()


if __name__ == "__main__":
    main()
