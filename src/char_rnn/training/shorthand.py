"""A training in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from char_rnn.data.sources import Sources, as_list
from char_rnn.model_file import ModelFile
from char_rnn.training.callbacks import Callback
from char_rnn.training.progress import training_progress
from char_rnn.training.result import TrainingResult
from char_rnn.training.run import RunContext, start_run
from char_rnn.utils.config import compose_config, config_from_dict
from char_rnn.utils.device import DeviceManager


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: the run folder; it stands for its best model wherever a model is wanted.
        result: how it ended.
    """

    folder: Path
    result: TrainingResult


def train(
    data: Sources,
    folder: str | Path | None = None,
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    init_from: str | Path | ModelFile | None = None,
    callbacks: Sequence[Callback] | None = None,
) -> Trained:
    """Train a model on a text, as ``char-rnn train`` does.

    Args:
        data: a file, a folder, or the name of a data set; or a list of these, read one after the other.
        folder: the run folder to make; when not given, one named after the text in ``logging.checkpoint_dir``.
        recipe: a named recipe; the defaults when not given.
        minutes: how long to train, on whatever machine this is; the recipe's own limits when not given.
        settings: values by ``section.key``, over those of the recipe.
        init_from: a model to start from; its architecture and vocabulary are taken.
        callbacks: listeners; progress on standard error when not given.

    Raises:
        ConfigError: a setting or the recipe does not exist, or a value cannot be used.
        ValueError: the text, the model or the folder cannot be used; the message says how to mend it.
        OSError: a file cannot be read or written.
        TrainingDiverged: the loss exploded again and again.
    """
    texts = [str(each) for each in as_list(data)]
    given = {"data.data_dir": texts if len(texts) > 1 else texts[0], **(settings or {})}
    if minutes is not None:
        given["training.minutes"] = minutes
    sections = compose_config(recipe).model_dump()
    for key, value in given.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    config = config_from_dict(sections, "settings")
    device = DeviceManager(config.device.preferred, config.device.auto_detect, config.device.fallback)
    listeners = [training_progress()] if callbacks is None else callbacks
    run = start_run(config, folder, init_from=init_from, context=RunContext(device, listeners))
    assert run.folder is not None
    return Trained(run.folder, run.train())
