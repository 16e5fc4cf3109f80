"""Training and writing speed of the cells, in turn.

    python benchmarks/cell_speed.py [--cells NAME...] [--shapes LAYERSxHIDDEN...] [--threads N] [--rounds N]

Training: `CharRNNTrainer` with batches of 16 x 64 and an embedding of 64, as in the recipe `quickstart`, with
``layer_norm: between``. Writing: one text at a time, float32. "over lstm" is the median ratio of the rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from harness import parser, report

from char_rnn.bench.baselines import Shape, text_of
from char_rnn.bench.generation import model_file, stream
from char_rnn.bench.timing import in_turn, ratio
from char_rnn.bench.training import trainer_loop
from char_rnn.cells import BUILT_IN
from char_rnn.generation.engine import Engine
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.utils.resources import memory_kept

STEPS, CHARACTERS = 10, 1000
NORM = {"model": {"layer_norm": "between"}}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--cells", nargs="+", choices=BUILT_IN, default=BUILT_IN)
    options.add_argument("--shapes", nargs="+", default=["1x384", "3x384"], metavar="LAYERSxHIDDEN")
    options.add_argument("--rounds", type=int, default=9, help="turns of each side")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    cells = ["lstm", *(cell for cell in arguments.cells if cell != "lstm")]
    rows = [row for shape in arguments.shapes for row in compare(cells, shape, arguments.rounds)]
    report("cells (characters/s, medians)", rows, arguments.json, threads=torch.get_num_threads())


def compare(cells: list[str], size: str, rounds: int) -> list[dict[str, Any]]:
    """Train and write with every cell in turn."""
    layers, hidden = map(int, size.split("x"))
    shapes = {cell: Shape(cell, hidden, layers, 16, 64, 64) for cell in cells}
    text, parameters = text_of(shapes["lstm"], STEPS), {}
    train: dict[str, Callable[[], object]] = {}
    write: dict[str, Callable[[], object]] = {}
    with TemporaryDirectory() as folder, memory_kept():
        for cell, shape in shapes.items():
            run = Path(folder, cell)
            run.mkdir()
            train[cell] = trainer_loop(shape, text, run, NORM)
            file = model_file(cell, hidden, layers)
            engine = Engine(file.config.model, file.tensors, "float32", threads=torch.get_num_threads())
            write[cell] = partial(stream(TextGenerator(engine, file.vocabulary)), CHARACTERS)
            parameters[cell] = sum(tensor.size for tensor in file.tensors.values())
        training, writing = in_turn(train, rounds), in_turn(write, rounds)
    return [
        {
            "cell": cell,
            "shape": size,
            "parameters": parameters[cell],
            "training": shapes[cell].characters * STEPS / training[cell].median,
            "over lstm": ratio(training, "lstm", cell),
            "writing": CHARACTERS / writing[cell].median,
            "writing over lstm": ratio(writing, "lstm", cell),
        }
        for cell in cells
    ]


if __name__ == "__main__":
    main()
