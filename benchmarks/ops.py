"""Speed of recurrent layers and models with options and of low precision; `char-rnn bench ops` measures plain layers.

    python benchmarks/ops.py --precision bfloat16 [--layers "gru before"] [--hidden 128 512] [--threads N] [--json FILE]

compares training of a layer under autocast with the same in float32.

    python benchmarks/ops.py --options ["lstm norm" ...] [--hidden 512] [...]

compares training with each option of a cell with the plain layer.

    python benchmarks/ops.py --parts ["attention top" ...] [--hidden 512] [...]

compares training of a two-layer LSTM with each part, or each dropout, with the plain model.

    python benchmarks/ops.py --matches TEXT [--batch 16] [--time 64] [...]

times the search for matches of 3 to 12 symbols in a text, and in texts of one symbol, two symbols and random bytes.

All sides run in turn. Layers are checked against their reference first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import parser, report
from torch import Tensor
from torch.nn import functional as F

from char_rnn import CharLSTM, ops
from char_rnn.bench.ops import LAYERS, Row, Side, Turns, named, timed, train_pass, zero_state
from char_rnn.bench.timing import in_turn
from char_rnn.cells import Cell

VOCABULARY, NUM_LAYERS = 65, 2
RESIDUAL: dict[str, Any] = {"layer_norm": "between", "residual": True}
PARTS: dict[str, dict[str, Any]] = {
    "layer_norm between": {"layer_norm": "between"},
    "layer_norm cell": {"layer_norm": "cell"},
    "pre-norm residual": RESIDUAL,
    "pre-norm residual, feed_forward_size 2H": {**RESIDUAL, "feed_forward_size": 2},
    "attention top, 256 steps": {"attention": "top"},
    "attention all, 4 heads, 256 steps": {"attention": "all", "attention_heads": 4},
    "tie_weights": {"tie_weights": True},
    "mogrifier_rounds 4": {"mogrifier_rounds": 4},
    "zoneout": {"zoneout": 0.1},
    "dropout": {"dropout": 0.3},
    "locked dropout": {"dropout": 0.3, "locked_dropout": True},
    "embedding_dropout": {"embedding_dropout": 0.1},
    "weight_dropout": {"weight_dropout": 0.3},
}
Extra = tuple[dict[str, Tensor], list[Tensor] | None]
"""Further parameters, and the masks of zoneout."""


def main() -> None:
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    turns = Turns(arguments.batch, arguments.time, arguments.rounds, arguments.seconds, arguments.device)
    rows: list[Row] = [] if arguments.matches is None else search_for_matches(arguments.matches, turns)
    for hidden in arguments.hidden:
        if arguments.precision:
            rows += [low_precision(layer, hidden, arguments.precision, turns) for layer in arguments.layers]
        elif arguments.options is not None:
            rows += [with_option(name, hidden, turns) for name in arguments.options or OPTIONS]
        elif arguments.parts is not None:
            rows += [with_part(name, hidden, turns) for name in arguments.parts or PARTS]
    report("speed (medians)", rows, arguments.json, threads=torch.get_num_threads(), device=arguments.device)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    options.add_argument("--hidden", nargs="+", type=int, default=[128, 512], help="units, also the input size")
    options.add_argument("--batch", type=int, default=50, help="sequences in a training pass")
    options.add_argument("--time", type=int, default=50, help="steps in a training pass")
    options.add_argument("--rounds", type=int, default=9, help="turns of each side")
    options.add_argument("--seconds", type=float, default=0.3, help="approximate seconds of a turn")
    options.add_argument("--device", default="cpu")
    one = options.add_mutually_exclusive_group(required=True)
    one.add_argument("--precision", choices=["bfloat16", "float16"], help="compare with float32")
    one.add_argument("--options", nargs="*", choices=list(OPTIONS), help="compare these options, or all, with none")
    one.add_argument("--parts", nargs="*", choices=list(PARTS), help="compare models with these parts, or all")
    one.add_argument("--matches", type=Path, help="time the search for matches in this text")
    return options.parse_args()


class Layer:
    """A layer on random input, with the sizes of a training pass."""

    def __init__(self, name: str, hidden: int, turns: Turns) -> None:
        make_module, self.cell = LAYERS[name]
        self.module = make_module(hidden, hidden, batch_first=True).to(turns.device)
        self.parameters = named(name, self.module.parameters())
        self.x = torch.randn(turns.batch, turns.time, hidden, device=turns.device, requires_grad=True)
        self.state = zero_state(name, turns.batch, self.module)
        self.sizes = {"batch": turns.batch, "time": turns.time, "hidden": hidden}

    def train(self) -> Side:
        """Return a training pass without options in float32."""
        inputs = [self.x, *self.parameters.values()]
        return train_pass(lambda: ops.run_layer(self.cell, self.x, self.state, self.parameters)[0], inputs)


def with_option(name: str, hidden: int, turns: Turns) -> Row:
    """Check a layer with an option against its reference, then time it and the plain layer."""
    layer = Layer(name.rpartition(" ")[0], hidden, turns)
    extra, zoneout = OPTIONS[name](layer.cell, layer.x, hidden)
    parameters = {**layer.parameters, **extra}
    given = (layer.cell, layer.x, layer.state, parameters, zoneout)
    inputs = [layer.x, *parameters.values()]
    check_close(ops.run_layer(*given)[0], ops.reference_layer(*given)[0], inputs, 1e-4)
    sides = {"plain": layer.train(), "with": train_pass(lambda: ops.run_layer(*given)[0], inputs)}
    return {"option": name, **layer.sizes, **timed(sides, "relative speed", turns)}


def norm(cell: Cell, x: Tensor, hidden: int) -> Extra:
    return {name: x.new_ones(blocks * hidden).requires_grad_() for name, blocks in cell.normalization.items()}, None


def zoneout(cell: Cell, x: Tensor, hidden: int) -> Extra:
    masks = torch.rand(len(cell.state), x.shape[1], x.shape[0], hidden, device=x.device) < 0.9
    return {}, list(masks.to(x.dtype).unbind())


def mogrifier(_: Cell, x: Tensor, hidden: int) -> Extra:
    """Five rounds, as most models of the paper have."""
    matrices = [(torch.randn(hidden, hidden, device=x.device) * hidden**-0.5).requires_grad_() for _ in range(5)]
    return {f"mogrifier_{number}": matrix for number, matrix in enumerate(matrices)}, None


OPTIONS: dict[str, Callable[[Cell, Tensor, int], Extra]] = {
    f"{layer} {option.__name__}": option
    for layer in LAYERS
    for option in (norm, zoneout, mogrifier)
    if layer == "lstm" or option is not mogrifier
}


def low_precision(name: str, hidden: int, precision: str, turns: Turns) -> Row:
    """Check a layer under autocast against its reference, then time it and float32."""
    layer = Layer(name, hidden, turns)
    weights = list(layer.module.parameters())
    given = (layer.cell, layer.x, layer.state, layer.parameters)

    def low() -> Tensor:
        with torch.autocast(turns.device, dtype=getattr(torch, precision)):
            return ops.run_layer(*given)[0]

    check_close(low(), ops.reference_layer(*given)[0], weights, 0.03)
    sides = {"float32": layer.train(), precision: train_pass(low, [layer.x, *weights])}
    return {"layer": name, "task": "train", **layer.sizes, **timed(sides, "speed-up", turns)}


def check_close(found: Tensor, expected: Tensor, inputs: Sequence[Tensor], tolerance: float) -> None:
    """Check an output and the gradients of its sum of squares; the speed of a wrong result means nothing."""
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=tolerance)
    gradients = [torch.autograd.grad(output.float().square().sum(), inputs) for output in (found, expected)]
    for actual, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, exact, rtol=0, atol=tolerance * exact.abs().max().item())


def with_part(name: str, hidden: int, turns: Turns) -> Row:
    """Time a training pass of a two-layer LSTM with a part and without it."""
    options = dict(PARTS[name])
    if "feed_forward_size" in options:
        options["feed_forward_size"] *= hidden
    sides = {"plain": whole_model(hidden, {}, turns), "with it": whole_model(hidden, options, turns)}
    sizes = {"batch": turns.batch, "time": turns.time, "hidden": hidden}
    return {"part": name, **sizes, **timed(sides, "speed, with / plain", turns)}


def whole_model(hidden: int, options: dict[str, Any], turns: Turns) -> Side:
    """Return a forward and a backward pass over one batch."""
    torch.manual_seed(0)
    model = CharLSTM(VOCABULARY, hidden, NUM_LAYERS, embedding_size=hidden, **options).to(turns.device)
    ids = torch.randint(VOCABULARY, (turns.batch, turns.time + 1), device=turns.device)
    state = model.init_hidden(turns.batch)

    def run() -> object:
        log_probs, _ = model(ids[:, :-1], state)
        loss = F.nll_loss(log_probs.flatten(0, 1), ids[:, 1:].flatten())
        return torch.autograd.grad(loss, list(model.parameters()))

    return run


def search_for_matches(path: Path, turns: Turns) -> list[Row]:
    """Time the search of a training step; the streams of the text overlap if it is short."""
    text = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).long()
    rows: list[Row] = []
    for window in (4096, 16_384, 65_536):
        shape = turns.batch, window + turns.time
        starts = torch.linspace(0, len(text) - shape[1], turns.batch).long()
        streams = {"the text": text[starts[:, None] + torch.arange(shape[1])]}
        kinds = {"one symbol": 1, "two symbols": 2, "random bytes": 256}
        streams |= {name: torch.randint(number, shape) for name, number in kinds.items()}
        sides = {
            name: partial(ops.find_matches, x[:, window:], x[:, :window] + 1.0, [3, 4, 5, 6, 8, 12])
            for name, x in streams.items()
        }
        timings = in_turn(sides, turns.rounds)
        rows.append({"window": window, **{f"{name}, ms": timing.median * 1000 for name, timing in timings.items()}})
    return rows


if __name__ == "__main__":
    main()
