"""From a configuration to a trainer: the text, the model and the run folder put together.

A run folder holds ``config.yaml``, ``metrics.jsonl``, ``best.safetensors``, ``last.safetensors``, the training state
beside them, and ``tensorboard/``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch

from char_rnn._version import __version__
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.dataloader import Batches, CharDataset, create_dataloaders
from char_rnn.data.datasets import NAMES
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import BEST, LAST, ModelFile, replacing
from char_rnn.models import CharModel, build_model
from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import STATE, CheckpointError, read_state
from char_rnn.training.trainer import CharRNNTrainer, TrainingResult
from char_rnn.utils.config import Config, to_yaml
from char_rnn.utils.device import DeviceManager

CONFIG = "config.yaml"

PrepareProgress = Callable[[str, int, int | None], None]
Sampler = Callable[[CharModel, Vocabulary], str]


@dataclass(frozen=True)
class Run:
    """A run about to start, or to go on.

    Attributes:
        folder: the run folder.
        trainer: ready to ``train()``.
        corpus: the text, encoded.
    """

    folder: Path
    trainer: CharRNNTrainer
    corpus: Corpus

    def train(self) -> TrainingResult:
        """Train to the end, and leave in ``config.yaml`` what repeats this run exactly."""
        result = self.trainer.train()
        if not result.stopped:
            _write_config(self.folder, self.trainer.repeatable_config())
        return result


@dataclass(frozen=True)
class Surroundings:
    """What a run is given besides its configuration.

    Attributes:
        device: where to train; a manager may fall back to the CPU when the model does not work on its device.
        callbacks: listeners of the trainer.
        sampler: given the model and the vocabulary, returns a text to show at each evaluation.
        progress: told about the preparation of the text, as in ``prepare_corpus``.
    """

    device: DeviceManager | torch.device | str = "cpu"
    callbacks: Sequence[Callback] = ()
    sampler: Sampler | None = None
    progress: PrepareProgress | None = None


def start_run(
    config: Config,
    folder: str | Path | None = None,
    *,
    init_from: str | Path | None = None,
    surroundings: Surroundings | None = None,
) -> Run:
    """Prepare the text, make the model and the run folder, and return all of it ready to train.

    Args:
        config: the whole configuration; ``data.data_dir`` names the text.
        folder: the run folder; when not given, one named after the text in ``logging.checkpoint_dir``.
        init_from: a model file or run folder to start from; its architecture and vocabulary are taken.
        surroundings: device, listeners, sampling.

    Raises:
        ValueError: the text, the model or the folder cannot be used; the message says how to mend it.
        OSError: the folder cannot be written.
    """
    check_folder_is_free(folder)
    config = _with_absolute_paths(config)
    surroundings = surroundings or Surroundings()
    vocabulary: str | Vocabulary = config.data.vocabulary
    tensors = None
    if init_from is not None:
        origin = ModelFile.read(init_from)
        config, vocabulary, tensors = _started_from(config, origin), origin.vocabulary, origin.tensors
    corpus = _corpus(config, vocabulary, surroundings.progress)
    torch.manual_seed(config.training.seed)
    model = build_model(config.model, corpus.vocabulary.size, tensors)
    device = _working(surroundings.device, model)
    loaders = _dataloaders(config, corpus, device)
    folder = _new_folder(config, folder, corpus.name)
    trainer = _trainer(config, folder, corpus, model, loaders, device, init_from, surroundings)
    _write_config(folder, config)
    return Run(folder, trainer, corpus)


def resume_run(config: Config, folder: str | Path, *, surroundings: Surroundings | None = None) -> Run:
    """Put a run together again as it was at its last checkpoint, ready to go on.

    Args:
        config: its configuration (``check_run``), in which limits and intervals may have been changed.
        folder: the run folder.
        surroundings: device, listeners, sampling.

    Raises:
        ValueError: there is nothing to resume, or it does not fit the configuration or the text.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    surroundings = surroundings or Surroundings()
    state, last = read_state(folder), ModelFile.read(folder / LAST)
    config = _with_absolute_paths(config)
    brought = "init_from" in last.training  # a model to start from brings its vocabulary
    corpus = _corpus(config, last.vocabulary if brought else config.data.vocabulary, surroundings.progress)
    model = build_model(config.model, corpus.vocabulary.size)
    device = _working(surroundings.device, model)
    loaders = _dataloaders(config, corpus, device)
    init_from = last.training.get("init_from")
    trainer = _trainer(config, folder, corpus, model, loaders, device, init_from, surroundings)
    trainer.load_state(*state)
    for abandoned in folder.glob(".*.tmp"):
        abandoned.unlink(missing_ok=True)
    _write_config(folder, config)
    return Run(folder, trainer, corpus)


def check_run(folder: str | Path) -> Path:
    """Return the configuration file of a run folder.

    Raises:
        CheckpointError: it is not a run folder.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: nothing to resume here (no {CONFIG}); give the folder that `--out` named")
    return path


def check_folder_is_free(folder: str | Path | None) -> None:
    """Make sure that no run is written over; one that saved nothing may be.

    Raises:
        CheckpointError: the folder holds a model or a training state.
    """
    if folder is not None and any((Path(folder) / name).exists() for name in (STATE, BEST, LAST)):
        raise CheckpointError(f"{folder}: holds a run already; go on with it (--resume {folder}) or name another --out")


def _with_absolute_paths(config: Config) -> Config:
    """Let a run be resumed from another folder; data sets and `-` are no paths."""
    data, logging = config.data, config.logging
    source = data.data_dir
    is_path = source not in (*NAMES, "-") and Path(source).exists()
    paths = {"data_dir": _absolute(source) if is_path else source, "cache_dir": _absolute(data.cache_dir)}
    folders = {"log_dir": _absolute(logging.log_dir)}
    return config.model_copy(
        update={"data": data.model_copy(update=paths), "logging": logging.model_copy(update=folders)}
    )


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path is not None else None


def _started_from(config: Config, origin: ModelFile) -> Config:
    """Take the architecture and the kind of vocabulary from a model; dropout is the new run's own."""
    model = origin.config.model.model_copy(update={"dropout": config.model.dropout})
    data = config.data.model_copy(update={"vocabulary": origin.vocabulary.kind})
    return config.model_copy(update={"model": model, "data": data})


def _working(device: DeviceManager | torch.device | str, model: CharModel) -> torch.device:
    """Return the device to train on; a manager tries a step of the model on it first, and may fall back to the CPU."""
    if not isinstance(device, DeviceManager):
        return torch.device(device)

    def step(device: torch.device) -> torch.device:
        with torch.random.fork_rng(enabled=device.type != "cpu"):
            copy = deepcopy(model).to(device)
            log_probs, _ = copy(torch.zeros(1, 2, dtype=torch.int64, device=device))
            log_probs.sum().backward()
        return device

    return device.run(step) if device.device.type != "cpu" else device.device


def _trainer(
    config: Config,
    folder: Path,
    corpus: Corpus,
    model: CharModel,
    loaders: Mapping[str, Batches],
    device: torch.device,
    init_from: str | Path | None,
    surroundings: Surroundings,
) -> CharRNNTrainer:
    sampler, log_dir = surroundings.sampler, config.logging.log_dir
    return CharRNNTrainer(
        model,
        loaders,
        config,
        device,
        vocabulary=corpus.vocabulary,
        run_dir=folder,
        log_dir=Path(log_dir) / folder.resolve().name if log_dir else None,
        facts=_facts(corpus, init_from),
        callbacks=surroundings.callbacks,
        sample=(lambda model: sampler(model, corpus.vocabulary)) if sampler is not None else None,
    )


def _corpus(config: Config, vocabulary: str | Vocabulary, progress: PrepareProgress | None) -> Corpus:
    data = config.data
    return prepare_corpus(
        data.data_dir, vocabulary=vocabulary, encoding=data.encoding, cache_dir=data.cache_dir, progress=progress
    )


def _dataloaders(config: Config, corpus: Corpus, device: torch.device) -> dict[str, Batches]:
    data, training = config.data, config.training
    dataset = CharDataset(corpus, training.seq_length, data.train_frac, data.val_frac)
    return create_dataloaders(
        dataset,
        training.batch_size,
        data.num_workers,
        batching=data.batching,
        seed=training.seed,
        pin_memory=device.type == "cuda",
    )


def _new_folder(config: Config, folder: str | Path | None, name: str) -> Path:
    """Make the run folder; without one given, the first free one named after the text."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return Path(folder)
    parent = Path(config.logging.checkpoint_dir)
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        candidate = parent / (name if number == 1 else f"{name}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        break
    return candidate


def _write_config(folder: Path, config: Config) -> None:
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8")


def _facts(corpus: Corpus, init_from: str | Path | None) -> dict[str, Any]:
    facts = {
        "data": corpus.name,
        "data_sha256": corpus.sha256,
        "characters": len(corpus.ids),
        "char_rnn": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    return facts | ({"init_from": os.fspath(init_from)} if init_from is not None else {})
