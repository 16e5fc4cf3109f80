"""The part of ``benchmarks/training.py`` that trains in low precision, or compiled, and as usual, in turn."""

from __future__ import annotations

import statistics
from itertools import cycle
from typing import Any

import torch

from char_rnn import CharDataset, Config, build_model, create_dataloaders
from char_rnn.bench.timing import in_turn, ratio
from char_rnn.training.evaluation import evaluate
from char_rnn.training.train_step import TrainStep

# name: cell, reset gate, hidden units, layers, batch, time
CASES = {
    "lstm 2x128, batch 50x50": ("lstm", "after", 128, 2, 50, 50),
    "lstm 1x384, batch 16x64": ("lstm", "after", 384, 1, 16, 64),
    "lstm 1x256, batch 32x32": ("lstm", "after", 256, 1, 32, 32),
    "lstm 2x512, batch 50x50": ("lstm", "after", 512, 2, 50, 50),
    "lstm 1x512, batch 50x50": ("lstm", "after", 512, 1, 50, 50),
    "lstm 2x512, batch 64x64": ("lstm", "after", 512, 2, 64, 64),
    "lstm 2x512, batch 128x64": ("lstm", "after", 512, 2, 128, 64),
    "gru after 2x512, batch 50x50": ("gru", "after", 512, 2, 50, 50),
    "gru before 2x512, batch 50x50": ("gru", "before", 512, 2, 50, 50),
    "rnn 2x512, batch 50x50": ("rnn", "after", 512, 2, 50, 50),
}
LAST = 50  # steps whose training loss is averaged: the loss of one is noise


class Training:
    """One side: a model trained a step a call, state carried over."""

    def __init__(self, name: str, dataset: CharDataset, training: dict[str, Any]) -> None:
        kind, reset, hidden, layers, self.batch, self.length = CASES[name]
        model = {"type": kind, "reset": reset, "hidden_size": hidden, "num_layers": layers, "dropout": 0.0}
        config = Config.model_validate({"model": model, "training": training})
        torch.manual_seed(0)
        self.model = build_model(config.model, dataset.vocab_size)
        self.stepper = TrainStep(self.model, config.training, torch.device("cpu"))
        self.batches = cycle(create_dataloaders(dataset, self.batch)["train"].epoch(0))
        self.hidden: Any = None
        self.losses: list[float] = []

    def __call__(self) -> None:
        """Train one step."""
        loss, self.hidden = self.stepper.step(*next(self.batches), self.hidden, 2e-3)
        self.losses.append(loss)


def measure(name: str, change: dict[str, Any], text: str, steps: int) -> dict[str, str | float]:
    """Train both sides from the same weights on the same batches, a step of one and a step of the other."""
    dataset = CharDataset(text, CASES[name][-1])
    sides = {"plain": Training(name, dataset, {}), "changed": Training(name, dataset, change)}
    timings = in_turn(sides, steps)
    train = {side: statistics.fmean(training.losses[-LAST:]) for side, training in sides.items()}
    split = dataset.with_split("val").split
    val = {side: evaluate(training.model, split).loss for side, training in sides.items()}
    characters = sides["plain"].batch * sides["plain"].length
    changed = ", ".join(map(str, change.values())) if "compile" not in change else "compiled"
    return {
        "case": name,
        "float32 char/s": characters / timings["plain"].median,
        f"{changed} char/s": characters / timings["changed"].median,
        "speed-up": ratio(timings, "plain", "changed"),
        "spread": timings["changed"].spread,
        "float32 loss": train["plain"],
        "loss ratio": train["changed"] / train["plain"],
        "float32 val. loss": val["plain"],
        "val. loss ratio": val["changed"] / val["plain"],
    }
