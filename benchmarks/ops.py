"""How fast are the recurrent layers beside PyTorch's own modules?

    python benchmarks/ops.py [--hidden 128 512] [--layers "gru before"] [--threads N] [--rounds N] [--json FILE]

Each line compares one layer of ``char_rnn.ops`` with the module of the same shape. The GRU whose reset gate comes
before the product has none; it is held to ``nn.GRU``, which does as many operations. "train" is a forward and a
backward pass with the gradients of everything, "step" one character without gradients, as in sampling. Both sides
run in turn, after the layer has been checked against its reference; a speed-up above 1 is faster than PyTorch.

    python benchmarks/ops.py --precision bfloat16 [--hidden 512] [...]

compares "train" of our layer under autocast with our layer in float32 instead.

    python benchmarks/ops.py --options ["lstm norm" ...] [--hidden 512] [...]

compares "train" of each option with our plain layer of the same cell.

    python benchmarks/ops.py --parts ["attention top" ...] [--hidden 512] [...]

compares training a whole two-layer LSTM with each part, or each dropout, with training the plain one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from harness import parser, report
from parts import PARTS
from parts import measure as measure_part
from torch import Tensor

from char_rnn import ops
from char_rnn.bench.layers import LAYERS, Side, Turns, check, compare, named, timed, train_pass, zero_state
from char_rnn.cells import Cell


def main() -> None:
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    turns = Turns(arguments.batch, arguments.time, arguments.rounds, arguments.seconds, arguments.device)
    if arguments.precision:
        rows = [
            compare_precision(layer, hidden, arguments.precision, turns)
            for layer in arguments.layers
            for hidden in arguments.hidden
        ]
        title = f"Recurrent layers in {arguments.precision} against themselves in float32 (medians)"
        return report(title, rows, arguments.json, threads=torch.get_num_threads(), device=arguments.device)
    if arguments.options is not None:
        names = arguments.options or list(OPTIONS)
        rows = [compare_option(name, hidden, turns) for name in names for hidden in arguments.hidden]
        title = "Options against the plain layer (medians)"
        return report(title, rows, arguments.json, threads=torch.get_num_threads(), device=arguments.device)
    if arguments.parts is not None:
        names = arguments.parts or list(PARTS)
        rows = [measure_part(name, hidden, arguments) for name in names for hidden in arguments.hidden]
        title = "Models with one part more against the plain two-layer LSTM (medians)"
        return report(title, rows, arguments.json, threads=torch.get_num_threads(), device=arguments.device)
    rows = []
    for layer in arguments.layers:
        check(layer)
        for hidden in arguments.hidden:
            rows.append(compare(layer, "train", turns.batch, turns.time, hidden, turns))
            rows.append(compare(layer, "step", 1, 1, hidden, turns))
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
    options.add_argument("--options", nargs="*", choices=list(OPTIONS), help="compare these, or all, with none")
    options.add_argument("--parts", nargs="*", choices=list(PARTS), help="likewise, in whole models")
    return options.parse_args()


def compare_option(name: str, hidden: int, turns: Turns) -> dict[str, str | int | float]:
    """Time a layer without an option and with it in turn; return a row of the table."""
    sides = OPTIONS[name](hidden, turns)
    sizes = {"batch": turns.batch, "time": turns.time, "hidden": hidden}
    return {"option": name, **sizes, **timed(sides, "relative speed", turns)}


def cell_option(layer: str, option: str, hidden: int, turns: Turns) -> dict[str, Side]:
    """Return the training passes of a layer of ours without and with an option of its cell, checked."""
    make_module, cell = LAYERS[layer]
    module = make_module(hidden, hidden, batch_first=True).to(turns.device)
    state = zero_state(layer, turns.batch, module)
    plain = named(layer, module.parameters())
    x = torch.randn(turns.batch, turns.time, hidden, device=turns.device, requires_grad=True)
    extra, zoneout = EXTRAS[option](cell, x, hidden)
    parameters = {**plain, **extra}
    inputs = [x, *parameters.values()]
    outputs = [function(cell, x, state, parameters, zoneout)[0] for function in (ops.run_layer, ops.reference_layer)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-4)
    gradients = [torch.autograd.grad(output.sum(), inputs) for output in outputs]
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    return {
        "plain": train_pass(lambda: ops.run_layer(cell, x, state, plain)[0], [x, *plain.values()]),
        "with": train_pass(lambda: ops.run_layer(cell, x, state, parameters, zoneout)[0], inputs),
    }


Extra = tuple[dict[str, Tensor], list[Tensor] | None]
"""Further parameters, and the updates of zoneout."""


def norm(cell: Cell, x: Tensor, hidden: int) -> Extra:
    return {name: x.new_ones(blocks * hidden).requires_grad_() for name, blocks in cell.normalization.items()}, None


def zoneout(cell: Cell, x: Tensor, hidden: int) -> Extra:
    masks = torch.rand(len(cell.state), x.shape[1], x.shape[0], hidden, device=x.device) < 0.9
    return {}, list(masks.to(x.dtype).unbind())


def mogrifier(_: Cell, x: Tensor, hidden: int) -> Extra:
    """Five rounds, as most of the paper's models have."""
    matrices = [(torch.randn(hidden, hidden, device=x.device) * hidden**-0.5).requires_grad_() for _ in range(5)]
    return {f"mogrifier_{number}": matrix for number, matrix in enumerate(matrices)}, None


EXTRAS: dict[str, Callable[[Cell, Tensor, int], Extra]] = {"norm": norm, "zoneout": zoneout, "mogrifier": mogrifier}
# name: what makes the training passes without and with the option, from the units and the arguments
OPTIONS: dict[str, Callable[[int, Turns], dict[str, Side]]] = {
    f"{layer} {option}": partial(cell_option, layer, option)
    for layer in LAYERS
    for option in EXTRAS
    if layer == "lstm" or option != "mogrifier"
}


def compare_precision(layer: str, hidden: int, precision: str, turns: Turns) -> dict[str, str | int | float]:
    """Check our layer under autocast against its reference, then time it and float32 in turn."""
    make_module, cell = LAYERS[layer]
    module = make_module(hidden, hidden, batch_first=True).to(turns.device)
    weights = list(module.parameters())
    parameters = named(layer, weights)
    x = torch.randn(turns.batch, turns.time, hidden, device=turns.device, requires_grad=True)
    state = zero_state(layer, turns.batch, module)

    def low_precision() -> Tensor:
        with torch.autocast(turns.device, dtype=getattr(torch, precision)):
            return ops.run_layer(cell, x, state, parameters)[0]

    expected = ops.reference_layer(cell, x, state, parameters)[0]
    torch.testing.assert_close(low_precision().float(), expected, rtol=0, atol=0.03)
    gradients = [torch.autograd.grad(output.float().square().sum(), weights) for output in (low_precision(), expected)]
    for actual, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, exact, rtol=0, atol=0.03 * exact.abs().max().item())
    sides = {
        "float32": train_pass(lambda: ops.run_layer(cell, x, state, parameters)[0], [x, *weights]),
        precision: train_pass(low_precision, [x, *weights]),
    }
    sizes = {"batch": turns.batch, "time": turns.time, "hidden": hidden}
    return {"layer": layer, "task": "train", **sizes, **timed(sides, "speed-up", turns)}


if __name__ == "__main__":
    main()
