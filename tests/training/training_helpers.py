"""Settings shared by the training tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from char_rnn.training.metrics import MetricsFile
from char_rnn.utils.config import Config

SMALL = {
    "model": {"hidden_size": 12, "num_layers": 2, "dropout": 0.25},
    "training": {"batch_size": 4, "seq_length": 10, "learning_rate": 0.01, "warmup_steps": 5, "max_epochs": 2},
    "data": {"train_frac": 0.8, "val_frac": 0.1},
    "logging": {"log_dir": None, "log_interval": 7, "save_interval": 20, "tensorboard": False, "sample_length": 0},
}

REGULARIZED = {
    "label_smoothing": 0.1,
    "activation_regularization": 2.0,
    "temporal_activation_regularization": 1.0,
}

STALLING = {
    "averaging": "nt-asgd",
    "averaging_patience": 1,
    "eval_interval": 5,
    "learning_rate": 0.2,
    "schedule": "constant",
    "warmup_steps": 0,
    "explosion_factor": 0.0,
}
"""The validation loss goes up and down at this rate, so that the averaging begins soon."""

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
}
"""Of a model: all that can be had together with any cell; ``layer_norm`` is one or the other."""


def timeless(run: Path) -> list[dict[str, Any]]:
    """The records of a run folder without what differs from run to run: seconds, speed, memory."""
    records = MetricsFile(run / "metrics.jsonl").read()
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
