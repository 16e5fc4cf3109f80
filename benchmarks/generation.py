"""How fast is text written, beside the plain PyTorch loop and beside what the machine can do?

    python benchmarks/generation.py [--parts alone batch start] [--cells lstm gru rnn] [--hidden 128 512]
                                    [--threads 1 2] [--rounds N] [--model MODEL --text FILE] [--json FILE]

Models of two layers over 65 symbols, with random weights. Sides are measured in turn; figures are medians.

"alone" is one text at a time: a loop of ``nn.Embedding``, the recurrent module, ``nn.Linear`` and
``torch.multinomial``, against ``TextGenerator.stream`` with each precision of the engine ("written"); then the engine's
step alone, and what it comes to of the rate at which this machine reads as many bytes as the model's matrices have,
measured in the same turns. "batch" is many texts side by side: the engine's step, against the rate at which PyTorch
multiplies such matrices. "start" is processes of their own: from the start of ``char-rnn sample`` to the first
character, and the resident memory then. "loss", with a model and a text, is the loss of the text in each precision.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from char_rnn.bench.questions import load_numpy

load_numpy()  # before anything else does

import numpy as np
import torch
from harness import parser, report

from char_rnn import TextGenerator
from char_rnn.bench.timing import ratio, timed_each
from char_rnn.bench.training_sides import MODULES
from char_rnn.bench.writing_sides import (
    Side,
    bytes_of,
    first_character,
    model_file,
    plain_loop,
    products,
    reader,
    steps_of,
    writer,
)
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Precision
from char_rnn.model_file import ModelFile, find_model

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
Row = dict[str, Any]


def main() -> None:
    arguments = parse()
    for part in arguments.parts:
        rows = list(PARTS[part](arguments))
        path = arguments.json.with_name(f"{arguments.json.stem}-{part}.json") if arguments.json else None
        report(TITLES[part], rows, path)


def parse() -> argparse.Namespace:
    options = parser(__doc__, threads=False)
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=["alone", "batch", "start"])
    options.add_argument("--cells", nargs="+", choices=list(MODULES), default=list(MODULES))
    options.add_argument("--hidden", nargs="+", type=int, default=[128, 512])
    options.add_argument(
        "--threads", nargs="+", type=int, default=[1, 2], help="of PyTorch, of the engine, of the reading"
    )
    options.add_argument("--streams", nargs="+", type=int, default=[1, 4, 16, 64, 256], help="texts side by side")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--model", help="for the loss of every precision")
    options.add_argument("--text", type=Path)
    return options.parse_args()


def alone(arguments: argparse.Namespace) -> Iterator[Row]:
    """One text at a time."""
    for cell in arguments.cells:
        for hidden in arguments.hidden:
            for threads in arguments.threads:
                yield from alone_with(cell, hidden, threads, arguments.rounds)


def alone_with(cell: str, hidden: int, threads: int, rounds: int) -> Iterator[Row]:
    torch.set_num_threads(threads)
    file = model_file(cell, hidden)
    sides: dict[str, Side] = {"PyTorch": plain_loop(cell, hidden)}
    matrices = 0
    for precision in PRECISIONS:
        engine = Engine(file.config.model, file.tensors, precision, threads=threads)
        sides[precision] = writer(TextGenerator(engine, file.vocabulary))
        sides[f"{precision} step"] = steps_of(engine)
        matrices = matrices or bytes_of(file)
        size = {"float32": matrices, "bfloat16": matrices // 2, "int8": matrices // 4}[precision]
        sides[f"{precision} reading"] = reader(size, threads)
    timings = timed_each(sides, rounds)
    for precision in PRECISIONS:
        writing, step = timings[precision], timings[f"{precision} step"]
        yield {
            "cell": cell,
            "hidden": hidden,
            "threads": threads,
            "precision": precision,
            "loop/s": 1 / timings["PyTorch"].median,
            "written/s": 1 / writing.median,
            "spread": writing.spread,
            "written/loop": ratio(timings, "PyTorch", precision),
            "steps/s": 1 / step.median,
            "step/reading": ratio(timings, f"{precision} reading", f"{precision} step"),
        }


def batch(arguments: argparse.Namespace) -> Iterator[Row]:
    """Many texts side by side, in float32."""
    for cell in arguments.cells:
        for hidden in arguments.hidden:
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                file = model_file(cell, hidden)
                engine = Engine(file.config.model, file.tensors, threads=threads)
                for streams in arguments.streams:
                    sides = {"engine": steps_of(engine, streams), "products": products(cell, hidden, streams)}
                    timings = timed_each(sides, arguments.rounds)
                    yield {
                        "cell": cell,
                        "hidden": hidden,
                        "threads": threads,
                        "streams": streams,
                        "characters/s": streams / timings["engine"].median,
                        "us a character": timings["engine"].median / streams * 1e6,
                        "engine/products": ratio(timings, "products", "engine"),
                    }


def start(arguments: argparse.Namespace) -> Iterator[Row]:
    """From the shell to the first character, in processes of their own."""
    for cell in arguments.cells:
        for hidden in arguments.hidden:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                model_file(cell, hidden).write(path)
                measured = [first_character(path) for _ in range(arguments.rounds + 1)][1:]
            yield {
                "cell": cell,
                "hidden": hidden,
                "first character, s": statistics.median(seconds for seconds, _ in measured),
                "most": max(seconds for seconds, _ in measured),
                "resident MB": statistics.median(resident for _, resident in measured),
            }


def loss(arguments: argparse.Namespace) -> Iterator[Row]:
    """What each precision costs: nats a character on a text, in 32 pieces side by side."""
    if arguments.model is None or arguments.text is None:
        raise SystemExit("loss: give --model and --text")
    file = ModelFile.read(find_model(arguments.model))
    ids = file.vocabulary.encode(arguments.text.read_text(encoding="utf-8")).astype(np.int64)
    pieces = ids[: len(ids) // 32 * 32].reshape(32, -1)
    for precision in ("float64", *PRECISIONS):
        streams = Engine(file.config.model, file.tensors, precision).begin(32)
        total = 0.0
        for step in range(pieces.shape[1] - 1):
            log_probs = streams.step(pieces[:, step])
            total -= float(log_probs[np.arange(32), pieces[:, step + 1]].sum(dtype=np.float64))
        yield {
            "precision": precision,
            "characters": 32 * (pieces.shape[1] - 1),
            "loss": total / 32 / (pieces.shape[1] - 1),
        }


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "alone": alone,
    "batch": batch,
    "start": start,
    "loss": loss,
}
TITLES = {
    "alone": "One text at a time, 2 layers, 65 symbols",
    "batch": "Many texts side by side, 2 layers, float32",
    "start": "char-rnn sample, from the shell",
    "loss": "What a precision costs",
}


if __name__ == "__main__":
    main()
