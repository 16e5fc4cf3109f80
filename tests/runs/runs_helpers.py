"""Run folders made by hand, of known numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.runs import STATE
from char_rnn.training.checkpoints import TrainingState, write_state
from char_rnn.training.run_folder import write_config
from char_rnn.utils.config import Config
from char_rnn.utils.model_files import BEST, LAST


def measured(folder: Path, records: Iterable[Mapping[str, Any]], **sections: dict[str, Any]) -> Path:
    """Write a run folder that has measured something, and saved nothing yet."""
    folder.mkdir(parents=True)
    write_config(folder, Config.model_validate(sections))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def record(step: int, split: str, loss: float | None) -> dict[str, Any]:
    """A record of a run that makes 100 steps an epoch and 2 a second."""
    return {"step": step, "split": split, "loss": loss, "epoch": step / 100, "seconds": step / 2}


def saved(folder: Path, step: int = 250, plan: Any = None, **sections: dict[str, Any]) -> Path:
    """Write the folder of a run of 100 steps an epoch whose best was at step 200."""
    sections = {"model": {"type": "gru", "hidden_size": 24, "num_layers": 3}, **sections}
    measured(folder, [record(100, "val", 2.0), record(200, "val", 1.5), record(step, "train", 1.25)], **sections)
    facts = {"data": "garden", "epoch": step / 100, "seconds": step / 2, "best_val_loss": 1.5, "best_step": 200}
    tensors = {"embedding.weight": np.zeros((5, 7), np.float32), "output_proj.bias": np.zeros(5, np.float32)}
    vocabulary = Vocabulary.from_text("roses")
    config = Config.model_validate(sections)
    for name, reached in ((BEST, 200), (LAST, step)):
        ModelFile(config, vocabulary, tensors, {**facts, "step": reached}).write(folder / name)
    write_state(folder / STATE, TrainingState({}, {"step": step, "plan": plan}))
    return folder
