"""How fast is text written, beside the plain PyTorch loop and beside what the machine can do?

    python benchmarks/generation.py [--parts alone command batch start] [--cells lstm gru rnn] [--hidden 128 512]
                                    [--threads 1 2] [--rounds N] [--model MODEL --text FILE] [--json FILE]

Models of two layers over 65 symbols, with random weights. Sides are measured in turn; figures are medians.

"alone" is one text at a time: a loop of ``nn.Embedding``, the recurrent module, ``nn.Linear`` and
``torch.multinomial``, against ``TextGenerator.stream`` with each precision of the engine ("written"); then the engine's
step alone, and what it comes to of the rate at which this machine reads as many bytes as the model's matrices have,
measured in the same turns. "command" is ``char-rnn sample`` with the defaults, whole processes in turn with the loop.
"batch" is many texts side by side: the engine's step, against the rate at which PyTorch
multiplies such matrices. "start" is processes of their own: from the start of ``char-rnn sample`` to the first
character, and the resident memory then. "loss", with a model and a text, is the loss of the text in each precision.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each reader of memory is a thread of its own

import numpy as np
import torch
from harness import parser, report

from char_rnn.bench import generation
from char_rnn.bench.questions import Settings
from char_rnn.bench.training_sides import MODULES
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
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=["alone", "command", "batch", "start"])
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
    for cell, hidden, threads in product(arguments.cells, arguments.hidden, arguments.threads):
        torch.set_num_threads(threads)
        for row in generation.alone(cell, hidden, Settings(threads, arguments.rounds)):
            yield {"threads": threads, **row}


def command(arguments: argparse.Namespace) -> Iterator[Row]:
    """By the command line, one thread."""
    torch.set_num_threads(1)
    for cell, hidden in product(arguments.cells, arguments.hidden):
        yield generation.command_line(cell, hidden, Settings(rounds=arguments.rounds))


def batch(arguments: argparse.Namespace) -> Iterator[Row]:
    """Many texts side by side, in float32."""
    for cell, hidden, threads in product(arguments.cells, arguments.hidden, arguments.threads):
        torch.set_num_threads(threads)
        for row in generation.together(cell, hidden, Settings(threads, arguments.rounds), arguments.streams):
            yield {"threads": threads, **row}


def start(arguments: argparse.Namespace) -> Iterator[Row]:
    """From the shell to the first character, in processes of their own."""
    for cell, hidden in product(arguments.cells, arguments.hidden):
        yield generation.start(cell, hidden, Settings(rounds=arguments.rounds))


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
    "command": command,
    "batch": batch,
    "start": start,
    "loss": loss,
}
TITLES = {
    "alone": "One text at a time, 2 layers, 65 symbols",
    "command": "char-rnn sample, from its start to its end",
    "batch": "Many texts side by side, 2 layers, float32",
    "start": "char-rnn sample, from the shell",
    "loss": "What a precision costs",
}


if __name__ == "__main__":
    main()
