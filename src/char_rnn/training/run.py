"""From a configuration to a run: text, model, trainer and run folder, new or resumed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from char_rnn._version import __version__
from char_rnn.data import TextNotFoundError
from char_rnn.data.corpus import Corpus
from char_rnn.data.datasets import Progress
from char_rnn.data.line_beginnings import suggested_primes
from char_rnn.data.sources import STANDARD_INPUT
from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel
from char_rnn.models.build import grown_tensors
from char_rnn.runs import STATE, TRACKER
from char_rnn.training.backend import TrainerBackend
from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import DamagedStateError, TrainingState, read_state, remaining_models, saved_model
from char_rnn.training.evaluation import TrainingResult
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.run_folder import check_folder_is_free, new_folder, with_absolute_paths, write_config
from char_rnn.training.teachers import described, open_teachers
from char_rnn.training.tracker import check_tracker
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.training.tuning import fit_batch, tuned, tuned_before, working_device
from char_rnn.utils.config import Config, config_from_dict
from char_rnn.utils.config.model import FOR_TRAINING
from char_rnn.utils.device import DeviceManager
from char_rnn.utils.locking import acquire, holding, released_on_error

ORIGIN = ("init_from", "new_symbols")
"""Metadata of a run that started from a model: its name, and the number of symbols added to its vocabulary, if any."""


@dataclass(frozen=True)
class Run:
    """A run, ready to start or continue; `folder` is None in a process that does not write."""

    folder: Path | None
    trainer: CharRNNTrainer
    corpus: Corpus

    def train(self) -> TrainingResult:
        """Train to the end, then write to ``config.yaml`` the configuration that repeats this run exactly.

        Raises:
            FolderInUseError: another process has locked the folder since the last call.
        """
        with holding(self.folder):
            result = self.trainer.train()
            if not result.stopped and self.folder is not None:
                write_config(self.folder, self.trainer.plan.repeatable(self.trainer.config, self.trainer.step))
        return result


@dataclass(frozen=True)
class RunContext:
    """What a run needs besides its configuration.

    Attributes:
        device: device to train on; a manager may fall back to the CPU when the model does not work on its device.
        callbacks: callbacks of the trainer.
        sample_text: function of the model and the vocabulary that returns a text to show at each evaluation.
        progress: progress of the text's preparation, as in ``prepare_corpus``.
        open_model: function that opens the model of ``init_from``, and teachers.
        group: processes that train together (default: this one alone).
        text: text to train on in place of that of ``data.data_dir``.
    """

    device: DeviceManager | torch.device | str = "cpu"
    callbacks: Sequence[Callback] = ()
    sample_text: Callable[[CharModel, Vocabulary], str] | None = None
    progress: Progress | None = None
    open_model: Callable[[str | Path], ModelFile] = ModelFile.read
    group: ProcessGroup = field(default_factory=ProcessGroup)
    text: str | None = field(default=None, repr=False)


def start_run(
    config: Config,
    folder: str | Path | None = None,
    *,
    init_from: str | Path | ModelFile | None = None,
    grow_vocabulary: bool = False,
    context: RunContext | None = None,
    backend: TrainerBackend | None = None,
) -> Run:
    """Prepare the text, build the model and make the run folder; return the run ready to train.

    Args:
        config: whole configuration; ``data.data_dir`` names the text.
        folder: run folder (default: one named after the text in ``logging.checkpoint_dir``).
        init_from: model, model file or run folder to start from; its architecture and vocabulary are used.
        grow_vocabulary: add the symbols of the text that the model of ``init_from`` lacks, after its own.
        context: device, callbacks, sampling, and the text if ``data.data_dir`` is `GIVEN_TEXT`.
        backend: implementation that ``training.trainer`` selects (default: modern).

    Raises:
        ValueError: the text, the model or the folder cannot be used; the message says how to fix it.
        FolderInUseError: another process is using the folder.
        OSError: the folder cannot be written.
    """
    context, backend = context or RunContext(), backend or TrainerBackend()
    _check_backend(backend, config, context.group)
    if context.group.is_first:
        check_folder_is_free(folder)
    config = with_absolute_paths(config)
    if init_from is None:
        if grow_vocabulary:
            raise ValueError("grow_vocabulary adds symbols to a model: give the model with init_from")
        return _prepare(config, folder, context, backend, config.data.vocabulary)
    model = init_from if isinstance(init_from, ModelFile) else context.open_model(init_from)
    name = "a model in memory" if isinstance(init_from, ModelFile) else os.fspath(init_from)
    config = _with_architecture(config, model, name)
    origin = {"init_from": name}
    return _prepare(config, folder, context, backend, model.vocabulary, origin, model.tensors, grow=grow_vocabulary)


def resume_run(
    config: Config, folder: str | Path, *, context: RunContext | None = None, backend: TrainerBackend | None = None
) -> Run:
    """Restore a run as it was at its last checkpoint, ready to continue.

    The configuration is that of the run (``run_folder.check_run``), with limits and intervals possibly changed. The
    context and the backend are as for ``start_run``.

    Raises:
        ValueError: there is nothing to resume, or it does not fit the configuration or the text.
        FolderInUseError, OSError: as for ``start_run``.
    """
    folder, context, backend = Path(folder), context or RunContext(), backend or TrainerBackend()
    _check_backend(backend, config, context.group)
    own = folder if context.group.is_first and folder.is_dir() else None
    if own is not None:
        acquire(own)
    with released_on_error(own):
        saved, last = read_state(folder), saved_model(folder)
        config = tuned_before(with_absolute_paths(config), last)
        config.data.file_order = last.config.data.file_order
        origin = {key: last.training[key] for key in ORIGIN if key in last.training}
        vocabulary = last.vocabulary if origin else config.data.vocabulary  # that of the model it started from
        try:
            return _prepare(config, folder, context, backend, vocabulary, origin, saved=saved)
        except TextNotFoundError as error:
            raise TextNotFoundError(f"{error}; if the text has moved, give its new path with --resume") from None


def _prepare(
    config: Config,
    folder: str | Path | None,
    context: RunContext,
    backend: TrainerBackend,
    vocabulary: str | Vocabulary,
    origin: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    saved: TrainingState | None = None,
    grow: bool = False,
) -> Run:
    """Prepare a run from new weights or a model's (``tensors``); resuming differs in the ``saved`` state alone."""
    group = context.group
    try:
        if context.text is not None:
            corpus = Corpus.from_text(context.text, vocabulary=vocabulary, grow=grow)
        else:
            corpus = group.in_turn(lambda: backend.corpus(config, vocabulary, context.progress, grow=grow))
    except UnknownCharacterError as error:
        if tensors is None or backend.name != "modern":
            raise
        raise error.advising("add it with --grow-vocabulary, or remove or replace it in the text") from None
    if isinstance(vocabulary, Vocabulary) and tensors is not None and corpus.vocabulary != vocabulary:
        config, tensors = _for_vocabulary(config, vocabulary, corpus.vocabulary, tensors)
        origin = {**(origin or {}), "new_symbols": corpus.vocabulary.size - vocabulary.size}
    if saved is None and tensors is None:
        config = config.model_copy(update={"model": config.model.for_new_run(corpus.vocabulary.size)})
    teachers = open_teachers(config.training.teachers, corpus.vocabulary, context.open_model)
    model = backend.model(config, corpus.vocabulary.size, tensors)
    device = working_device(context.device, model, group)
    text = corpus.split("train", config.data.train_frac, config.data.val_frac)
    config = fit_batch(config, model, device, group, len(text))
    if saved is None and config.generation.suggested_primes is None:
        config = config.changed(generation={"suggested_primes": suggested_primes(text, corpus.vocabulary)})
    loaders = backend.dataloaders(config, corpus, device, _rows(config, group))
    began = time.perf_counter()
    if saved is None:
        config = tuned(config, backend.trainer, model, loaders, device, group)
    seconds = time.perf_counter() - began
    path = None
    if group.is_first:
        path = new_folder(config, folder, corpus.name) if saved is None or folder is None else Path(folder)
    with released_on_error(path):
        if saved is None:
            check_folder_is_free(path)  # now that no other process can begin there
        options = _trainer_options(config, path, corpus, {**(origin or {}), **described(teachers)}, context)
        trainer = backend.trainer(model, loaders, config, device, teachers=teachers, **options)
        if saved is None:
            trainer.timer.resume(seconds)
        else:
            _restore(trainer, saved, Path(folder or ""))
        if path is not None:
            write_config(path, config)
            if saved is None:
                (path / TRACKER).unlink(missing_ok=True)  # of a run that this one replaces
        if saved is None:
            trainer.save()  # so that the run can be resumed from its first step on
    return Run(path, trainer, corpus)


def _with_architecture(config: Config, model: ModelFile, name: str) -> Config:
    """Use the architecture and the kind of vocabulary of a model, and the new run's dropout, except with torch7."""
    own = {"initialization"} if config.training.trainer == "torch7" else FOR_TRAINING
    architecture = model.config.model.model_dump() | {key: getattr(config.model, key) for key in own}
    started = config.changed(model=architecture, data={"vocabulary": model.vocabulary.kind})
    return config_from_dict(started.model_dump(mode="json"), f"init_from {name}")


def _for_vocabulary(
    config: Config, old: Vocabulary, new: Vocabulary, tensors: Mapping[str, np.ndarray]
) -> tuple[Config, Mapping[str, np.ndarray]]:
    """Return the configuration and the weights of a model for a grown vocabulary, drawn with the seed of the run."""
    model = config.model
    if model.embedding == "learned" and not model.tie_weights:  # null means the size of the vocabulary
        model = model.model_copy(update={"embedding_size": model.input_size(old.size)})
    torch.manual_seed(config.training.seed)
    return config.model_copy(update={"model": model}), grown_tensors(model, old.size, new.size, tensors)


def _restore(trainer: CharRNNTrainer, saved: TrainingState, folder: Path) -> None:
    """Restore the trainer's state, and tidy up what a killed process left in the folder."""
    try:
        trainer.load_state_dict(saved)
    except DamagedStateError as error:
        raise DamagedStateError(f"{folder / STATE}: {error}; {remaining_models(folder)}") from None
    trainer.checkpoints.check_best(trainer.group)
    if trainer.group.is_first:
        for abandoned in folder.glob(".*.tmp"):
            abandoned.unlink(missing_ok=True)


def _rows(config: Config, group: ProcessGroup) -> slice:
    """Return this process's sequences of a batch."""
    sequences = config.training.sequences
    if sequences < group.size:
        raise ValueError(
            f"training.batch_size {sequences} cannot be shared among {group.size} processes;"
            " increase it, or start fewer processes"
        )
    return group.rows(sequences)


def _check_backend(backend: TrainerBackend, config: Config, group: ProcessGroup) -> None:
    if backend.name != config.training.trainer:
        raise ValueError(
            f"training.trainer is {config.training.trainer}, but the run was given the backend {backend.name};"
            " pass the backend of the configuration to start_run and resume_run"
        )
    if backend.one_process and not group.alone:
        raise ValueError(
            f"training.trainer {backend.name} trains in one process, not in {group.size}; leave out torchrun"
        )
    if STANDARD_INPUT in config.data.sources and not group.alone:
        raise ValueError(f"standard input cannot be read by {group.size} processes; write the text to a file first")
    if group.is_first:
        check_tracker(config.logging)


def _trainer_options(
    config: Config, folder: Path | None, corpus: Corpus, origin: Mapping[str, Any], context: RunContext
) -> dict[str, Any]:
    """Return the keyword arguments of the trainer."""
    write, log_dir, vocabulary = context.sample_text, config.logging.log_dir, corpus.vocabulary
    metadata = {
        "data": corpus.name,
        "data_sha256": corpus.sha256,
        "characters": len(corpus.ids),
        "char_rnn": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    return {
        "vocabulary": vocabulary,
        "run_dir": folder,
        "log_dir": Path(log_dir) / folder.resolve().name if log_dir and folder is not None else None,
        "metadata": {**metadata, **origin},
        "callbacks": context.callbacks,
        "sample": (lambda model: write(model, vocabulary)) if write is not None else None,
        "group": context.group,
        "manager": context.device if isinstance(context.device, DeviceManager) else None,
    }
