"""Speed of the exact 2015 recipe, and the effect of single precision.

    python benchmarks/torch7.py [--threads N] [--steps N] [--rounds N] [--text FILE] [--json FILE]

Training: steps of the recipe torch7 (2 layers of 128, batch 50, sequence 50, 65 symbols) for each cell in float64 and
float32, and the modern trainer on the same model, in turn. Sampling: ``--rng torch7`` from such a model, in float64.
With ``--text`` also one epoch on a text in both precisions, and the loss of each.

For comparison: the original on Torch7 trained the LSTM at about 17,700 characters/s on two cores of the kind in
``docs/notes.md``, at its best thread setting, and sampled about 4,700.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from harness import parser, report

from char_rnn import CharRNNTrainer, Config, Corpus, ModelFile, build_model, create_dataloaders
from char_rnn.bench.timing import in_turn
from char_rnn.data.dataloader import CharDataset
from char_rnn.torch7.random import Generator
from char_rnn.torch7.sampling import sample_torch7
from char_rnn.torch7.text import split_text
from char_rnn.torch7.trainer import Torch7Backend, Torch7Trainer
from char_rnn.training.run import start_run
from char_rnn.utils.config import compose_config

VOCABULARY = 65
CELLS = ("lstm", "gru", "rnn")
PRECISIONS = ("float64", "float32")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=30, help="training steps of a turn")
    options.add_argument("--rounds", type=int, default=5, help="turns of each side")
    options.add_argument("--length", type=int, default=4000, help="characters to sample")
    options.add_argument("--text", type=Path, help="text for one epoch")
    arguments = options.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = training_rows(arguments.steps, arguments.rounds) + sampling_rows(arguments.length, arguments.rounds)
    rows += epoch_rows(arguments.text) if arguments.text else []
    report("the recipe of 2015", rows, arguments.json, threads=torch.get_num_threads())


def corpus(characters: int) -> Corpus:
    """Return a random text of 65 different bytes."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, characters)
    return Corpus.from_text(bytes((ids + 40).tolist()), vocabulary="bytes")


def config_of(cell: str, precision: str, *overrides: str) -> Config:
    """Return the recipe for a cell in a precision."""
    return compose_config("torch7", overrides=[f"model.type={cell}", f"training.precision={precision}", *overrides])


def training_rows(steps: int, rounds: int) -> list[dict[str, Any]]:
    """Train each cell by the exact recipe in both precisions, and with the modern trainer, in turn."""
    text = corpus(50 * 50 * (steps + 3) * 2)
    trainers: dict[str, CharRNNTrainer] = {}
    for cell in CELLS:
        for precision in PRECISIONS:
            config = config_of(cell, precision)
            model = build_model(config.model, VOCABULARY, dtype=precision)
            batches = split_text(text, 50, 50, 0.95, 0.05)
            trainers[f"{cell}, {precision}"] = Torch7Trainer(
                model, batches, config, rng=Generator(config.training.seed)
            )
        config = config_of(cell, "float32", "training.trainer=modern", "training.optimizer=adamw", "training.clip=norm")
        loaders = create_dataloaders(CharDataset(text, 50), 50)
        model = build_model(config.model, VOCABULARY)
        trainers[f"{cell}, float32, modern trainer"] = CharRNNTrainer(model, loaders, config)
    timings = in_turn({name: partial(train, trainer, steps) for name, trainer in trainers.items()}, rounds)
    return [row(f"train, {name}", 2500 * steps / timing.median, timing.spread) for name, timing in timings.items()]


def train(trainer: CharRNNTrainer, steps: int) -> None:
    for x, y in islice(trainer.train_batches.epoch(0), steps):
        trainer.train_step(x, y)


def sampling_rows(length: int, rounds: int) -> list[dict[str, Any]]:
    """Sample with a model of each cell, in turn."""
    sides = {}
    for cell in CELLS:
        config = config_of(cell, "float64")
        tensors = build_model(config.model, VOCABULARY, dtype="float64").state_dict()
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        sides[cell] = partial(sample, ModelFile(config, corpus(5000).vocabulary, arrays), length)
    timings = in_turn(sides, rounds)
    return [row(f"sample, {cell}, float64", length / timing.median, timing.spread) for cell, timing in timings.items()]


def sample(file: ModelFile, length: int) -> None:
    deque(sample_torch7(file, length=length), maxlen=0)


def epoch_rows(path: Path) -> list[dict[str, Any]]:
    """Train one epoch on a text in both precisions."""
    rows = []
    for precision in PRECISIONS:
        with TemporaryDirectory() as folder:
            overrides = (f"data.data_dir={path}", "training.max_epochs=1", "logging.log_interval=100")
            began = time.perf_counter()
            run = start_run(config_of("lstm", precision, *overrides), folder, backend=Torch7Backend())
            result = run.train()
            assert result.val is not None
            speed = len(run.corpus.ids) / (time.perf_counter() - began)
            rows.append(row(f"one epoch with evaluations, lstm, {precision}", speed, loss=f"{result.val.loss:.5f}"))
    return rows


def row(what: str, speed: float, spread: float | None = None, loss: str = "") -> dict[str, Any]:
    """Return a row of the table."""
    return {"what": what, "characters/s": speed, "+-": "" if spread is None else f"{spread:.0%}", "loss": loss}


if __name__ == "__main__":
    main()
