"""Settings shared by the training tests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from char_rnn.training import Callback, CharRNNTrainer
from char_rnn.training.callbacks import MetricsWriter
from char_rnn.utils.config import Config

SMALL = {
    "model": {"hidden_size": 12, "num_layers": 2, "dropout": 0.25},
    "training": {"batch_size": 4, "seq_length": 10, "learning_rate": 0.01, "warmup_steps": 5, "max_epochs": 2},
    "data": {"train_frac": 0.8, "val_frac": 0.1},
    "logging": {"log_dir": None, "log_interval": 7, "save_interval": 20, "tensorboard": False, "sample_length": 0},
}

AS_IN_2015 = {
    "optimizer": "rmsprop",
    "schedule": "exponential",
    "clip": "value",
    "grad_clip": 0.05,
    "precision": "float64",
    "learning_rate_decay": 0.5,
    "learning_rate_decay_after": 1,
    "warmup_steps": 0,
    "weight_decay": 0.0,
}

REGULARIZED = {
    "label_smoothing": 0.1,
    "activation_regularization": 2.0,
    "temporal_activation_regularization": 1.0,
}

EVERY_PART = {
    "locked_dropout": True,
    "embedding_dropout": 0.1,
    "weight_dropout": 0.3,
    "zoneout": 0.1,
    "tie_weights": True,
    "residual": True,
    "feed_forward_size": 9,
    "attention": "all",
    "attention_heads": 3,
    "attention_window": 13,
    "match_lengths": [3, 1],
    "match_window": 20,
    "match_dropout": 0.3,
}
"""Model options that combine with any cell; ``layer_norm`` has two values to choose from."""


def timeless(run: Path) -> list[dict[str, Any]]:
    """Return the records of a run folder without seconds, speed and memory, which vary."""
    records = MetricsWriter(run / "metrics.jsonl").read()
    varying = ("seconds", "characters_per_second", "memory_")
    return [{k: v for k, v in record.items() if not k.startswith(varying)} for record in records]


def small_config(**sections: dict[str, Any]) -> Config:
    """The small configuration with some values changed."""
    return Config.model_validate(
        {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {*SMALL, *sections}}
    )


def rose_config(folder: Path) -> Config:
    """A small configuration of 12 steps on a text that is written into a folder."""
    text = folder / "rose.txt"
    text.write_text("a rose is a rose is a rose.\n" * 30)
    return small_config(
        data={"data_dir": str(text), "cache_dir": str(folder / "cache")},
        training={"max_steps": 12, "eval_interval": 6},
        logging={"checkpoint_dir": str(folder / "runs")},
    )


class Log(Callback):
    """Stores everything."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.samples: list[tuple[int, str]] = []
        self.events: list[str] = []

    def on_start(self, trainer: CharRNNTrainer) -> None:
        self.events.append("start")

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        self.losses.append(loss)

    def on_record(self, record: Any) -> None:
        self.records.append(dict(record))

    def on_sample(self, step: int, text: str) -> None:
        self.samples.append((step, text))

    def on_end(self, trainer: CharRNNTrainer) -> None:
        self.events.append("end")


class Events(Callback):
    """Stores the events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def on_event(self, trainer: CharRNNTrainer, event: Any) -> None:
        self.events.append(dict(event))


class Breaks(Callback):
    """Breaks the model right after a step, ``times`` times."""

    def __init__(self, step: int, times: int = 1, factor: float = math.inf) -> None:
        self.step, self.times, self.factor = step, times, factor

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        if trainer.step == self.step and self.times:
            self.times -= 1
            with torch.no_grad():
                trainer.model.output_proj.weight.mul_(self.factor)


def parameters(trainer: CharRNNTrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


class StopAt(Callback):
    """Asks to stop after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        if trainer.step == self.at:
            trainer.request_stop()
