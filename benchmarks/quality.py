"""Loss of each part of a model, of each means against overfitting, or of each precision of the engine.

    python benchmarks/quality.py --text FILE --question parts|overfitting [--characters N] [--epochs F] [--seeds S...]
                                 [--cases NAME...] [--threads N] [--json FILE]

"parts": two layers of 256 without dropout, on as much text as a short training reads; each part of a model added to a
plain one, or to the pre-norm residual one where its name says so. "overfitting": the residual one on a short text for
many epochs; each means alone, at one strength. Reported are the lowest validation loss on the last tenth of the
characters used, in nats per character, the loss of the last training records, and the difference to the first case. To
choose settings for a text whose end is reported elsewhere, give ``--characters``: the rest is not read.

    python benchmarks/quality.py --text FILE --question precision --model MODEL [--json FILE]

The loss of a text in each precision of the engine, in 32 pieces side by side, each from a zero state.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from harness import parser, report

from char_rnn import Config, ModelFile
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Precision
from char_rnn.runs.history import read_history
from char_rnn.training.run import start_run
from char_rnn.utils.config import with_settings
from char_rnn.utils.model_files import find_model

BASE: dict[str, dict[str, Any]] = {
    "model": {"hidden_size": 256, "num_layers": 2, "embedding_size": 256, "dropout": 0.0},
    "training": {"batch_size": 32, "seq_length": 64, "learning_rate": 0.003, "adam_betas": [0.9, 0.99],
                 "grad_clip": 1.0, "eval_interval": 200},
    "data": {"train_frac": 0.9, "val_frac": 0.1},
    "logging": {"log_dir": None, "tensorboard": False, "sample_length": 0, "log_interval": 50},
}  # fmt: skip
RESIDUAL: dict[str, Any] = {"model.layer_norm": "between", "model.residual": True}
LOCKED: dict[str, Any] = {"model.dropout": 0.4, "model.locked_dropout": True}
WEIGHT_DROPOUT: dict[str, Any] = {"model.weight_dropout": 0.4}

PARTS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru, reset after": {"model.type": "gru"},
    "gru, reset before": {"model.type": "gru", "model.reset": "before"},
    "rnn": {"model.type": "rnn"},
    "initialization xavier": {"model.initialization": "xavier"},
    "initialization orthogonal": {"model.initialization": "orthogonal"},
    "layer_norm between": {"model.layer_norm": "between"},
    "layer_norm cell": {"model.layer_norm": "cell"},
    "residual": {"model.residual": True},
    "tie_weights": {"model.tie_weights": True},
    "mogrifier_rounds 4": {"model.mogrifier_rounds": 4},
    "attention top": {"model.attention": "top"},
    "match_lengths 3, 5": {"model.match_lengths": [3, 5]},
    "pre-norm residual": RESIDUAL,
    "pre-norm residual, tie_weights": {**RESIDUAL, "model.tie_weights": True},
    "pre-norm residual, feed_forward_size 512": {**RESIDUAL, "model.feed_forward_size": 512},
    "pre-norm residual, attention top": {**RESIDUAL, "model.attention": "top"},
    "pre-norm residual, attention all, 4 heads": {**RESIDUAL, "model.attention": "all", "model.attention_heads": 4},
    "pre-norm residual, mogrifier_rounds 4": {**RESIDUAL, "model.mogrifier_rounds": 4},
}

OVERFITTING: dict[str, dict[str, Any]] = {
    name: RESIDUAL | changes
    for name, changes in {
        "none": {},
        "dropout 0.4": {"model.dropout": 0.4},
        "locked dropout 0.4": LOCKED,
        "embedding_dropout 0.1": {"model.embedding_dropout": 0.1},
        "weight_dropout 0.4": WEIGHT_DROPOUT,
        "zoneout 0.1": {"model.zoneout": 0.1},
        "activation_regularization 2, temporal 1": {
            "training.activation_regularization": 2.0, "training.temporal_activation_regularization": 1.0
        },
        "label_smoothing 0.05": {"training.label_smoothing": 0.05},
        "weight_decay 0.1": {"training.weight_decay": 0.1},
        "averaging ema": {"training.averaging": "ema"},
        "locked dropout, weight_dropout 0.4": {**LOCKED, **WEIGHT_DROPOUT},
        "locked dropout, weight_dropout, ema": {**LOCKED, **WEIGHT_DROPOUT, "training.averaging": "ema"},
    }.items()
}  # fmt: skip
QUESTIONS = {"parts": (PARTS, 1_003_854, 1.5), "overfitting": (OVERFITTING, 200_000, 12.0), "precision": ({}, 0, 0.0)}


def main() -> None:
    arguments = parse()
    if arguments.question == "precision":
        report("loss by precision, nats per character", precisions(arguments.model, arguments.text), arguments.json)
        return
    cases, characters, epochs = QUESTIONS[arguments.question]
    characters, epochs = arguments.characters or characters, arguments.epochs or epochs
    torch.set_num_threads(arguments.threads or 1)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(arguments.text.read_text(encoding="utf-8")[:characters], encoding="utf-8")
        for name in arguments.cases or cases:
            measured = [train(text, cases[name], seed, epochs) for seed in arguments.seeds]
            rows.append({"case": name, **together(measured)})
            rows[-1]["difference"] = rows[-1]["loss"] - rows[0]["loss"]
            print(rows[-1], flush=True)
    title = f"{arguments.question}: validation loss, nats per character"
    metadata = {"characters": characters, "epochs": epochs, "seeds": arguments.seeds}
    report(title, rows, arguments.json, threads=torch.get_num_threads(), **metadata)


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--text", type=Path, required=True, help="a text in UTF-8")
    options.add_argument("--question", choices=list(QUESTIONS), required=True)
    options.add_argument("--model", help="model, to compare precisions")
    options.add_argument("--characters", type=int, help="characters of the text to use")
    options.add_argument("--epochs", type=float, help="passes over nine tenths of them")
    options.add_argument("--seeds", type=int, nargs="+", default=[1])
    options.add_argument("--cases", nargs="+", help="names of cases (default: all)")
    arguments = options.parse_args()
    if arguments.question == "precision" and arguments.model is None:
        options.error("--question precision: give --model")
    return arguments


def precisions(model: str, text: Path) -> list[dict[str, Any]]:
    """Return the loss of a text in each precision."""
    file = ModelFile.read(find_model(model))
    ids = file.vocabulary.encode(text.read_text(encoding="utf-8")).astype(np.int64)
    pieces = ids[: len(ids) // 32 * 32].reshape(32, -1)
    rows: list[dict[str, Any]] = []
    for precision in get_args(Precision):
        streams, total = Engine(file.config.model, file.tensors, precision).begin(32), 0.0
        for now, following in pairwise(pieces.T):
            total -= float(streams.step(now)[np.arange(32), following].sum(dtype=np.float64))
        characters = pieces.size - 32
        rows.append({"precision": precision, "characters": characters, "loss": total / characters})
    return rows


def train(text: Path, changes: Mapping[str, Any], seed: int, epochs: float) -> dict[str, float]:
    """Train one model; return its parameters, losses and speed."""
    per_step = BASE["training"]["batch_size"] * BASE["training"]["seq_length"]
    steps = int(epochs * 0.9 * len(text.read_text(encoding="utf-8")) / per_step)
    settings = {
        **changes, "data.data_dir": str(text), "data.cache_dir": str(text.parent / "cache"), "training.seed": seed,
        "training.max_steps": steps, "training.max_epochs": 10_000,
    }  # fmt: skip
    config = with_settings(Config.model_validate(BASE), settings, "case")
    with TemporaryDirectory() as folder:
        run = start_run(config, Path(folder) / "run")
        result = run.train()
        recorded = read_history(Path(folder) / "run").finite("train")
    return {
        "parameters": sum(parameter.numel() for parameter in run.trainer.model.parameters()),
        "loss": result.best_val_loss,
        "at step": result.best_step,
        "training loss": statistics.fmean(point.loss for point in recorded[-3:]),
        "characters/s": steps * per_step / run.trainer.timer.seconds_in_steps,
    }


def together(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the means over the seeds, and the spread of the loss over them."""
    row = {key: statistics.fmean(each[key] for each in measured) for key in measured[0]}
    row["parameters"] = int(row["parameters"])
    if len(measured) > 1:
        row["deviation"] = statistics.stdev(each["loss"] for each in measured)
    return row


if __name__ == "__main__":
    main()
