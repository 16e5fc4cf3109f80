"""From a configuration to a trainer: the text, the model and the run folder put together."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from char_rnn._version import __version__
from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.errors import TextNotFoundError
from char_rnn.data.sources import STANDARD_INPUT
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel
from char_rnn.runs import STATE
from char_rnn.training.backend import PrepareProgress, TrainerBackend
from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import DamagedStateError, read_state, what_stays
from char_rnn.training.fitting import fitted, working_device
from char_rnn.training.keeping import saved_model
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.result import TrainingResult
from char_rnn.training.run_folder import check_folder_is_free, new_folder, with_absolute_paths, write_config
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.training.tuning import tuned, tuned_before
from char_rnn.utils.config import Config, config_from_dict
from char_rnn.utils.config.model import FOR_TRAINING
from char_rnn.utils.device import DeviceManager
from char_rnn.utils.locking import acquire, holding, released_on_error

Sampler = Callable[[CharModel, Vocabulary], str]


@dataclass(frozen=True)
class Run:
    """A run about to start, or to go on.

    Attributes:
        folder: the run folder; None in a process that leaves it to another.
        trainer: ready to ``train()``.
        corpus: the text, encoded.
    """

    folder: Path | None
    trainer: CharRNNTrainer
    corpus: Corpus

    def train(self) -> TrainingResult:
        """Train to the end, and leave in ``config.yaml`` what repeats this run exactly.

        The folder is this process's until the end.

        Raises:
            FolderInUseError: another process has taken the folder since the last call.
        """
        with holding(self.folder):
            result = self.trainer.train()
            if not result.stopped and self.folder is not None:
                write_config(self.folder, self.trainer.repeatable_config())
        return result


@dataclass(frozen=True)
class RunContext:
    """What a run is given besides its configuration.

    Attributes:
        device: where to train; a manager may fall back to the CPU when the model does not work on its device.
        callbacks: listeners of the trainer.
        sampler: given the model and the vocabulary, returns a text to show at each evaluation.
        progress: told about the preparation of the text, as in ``prepare_corpus``.
        group: the processes that train together; this one alone when not given.
        open_model: opens the model that a run starts from.
    """

    device: DeviceManager | torch.device | str = "cpu"
    callbacks: Sequence[Callback] = ()
    sampler: Sampler | None = None
    progress: PrepareProgress | None = None
    open_model: Callable[[str | Path], ModelFile] = ModelFile.read
    group: ProcessGroup = field(default_factory=ProcessGroup)


def start_run(
    config: Config,
    folder: str | Path | None = None,
    *,
    init_from: str | Path | ModelFile | None = None,
    context: RunContext | None = None,
    backend: TrainerBackend | None = None,
) -> Run:
    """Prepare the text, make the model and the run folder, and return all of it ready to train.

    Args:
        config: the whole configuration; ``data.data_dir`` names the text.
        folder: the run folder; when not given, one named after the text in ``logging.checkpoint_dir``.
        init_from: a model, model file or run folder to start from; its architecture and vocabulary are taken.
        context: device, listeners, sampling.
        backend: implementation that ``training.trainer`` selects (default: modern).

    Raises:
        ValueError: the text, the model or the folder cannot be used; the message says how to mend it.
        FolderInUseError: another process is at work in the folder.
        OSError: the folder cannot be written.
    """
    context = context or RunContext()
    backend, group = _fitting(backend or TrainerBackend(), config, context.group), context.group
    if group.is_first:
        check_folder_is_free(folder)
    config = with_absolute_paths(config)
    vocabulary: str | Vocabulary = config.data.vocabulary
    tensors, name = None, None
    if init_from is not None:
        origin, name = _origin(init_from, context)
        config, vocabulary, tensors = _started_from(config, origin, name), origin.vocabulary, origin.tensors
    corpus = group.in_turn(lambda: backend.corpus(config, vocabulary, context.progress))
    if tensors is None:
        config = config.model_copy(update={"model": config.model.for_new_run(corpus.vocabulary.size)})
    model = backend.model(config, corpus.vocabulary.size, tensors)
    device = working_device(context.device, model, group)
    characters = len(corpus.split("train", config.data.train_frac, config.data.val_frac))
    config = fitted(config, model, device, group, characters)
    loaders = backend.dataloaders(config, corpus, device, _rows(config, group))
    began = time.perf_counter()
    config = tuned(config, backend.trainer, model, loaders, device, group)
    seconds = time.perf_counter() - began
    path = new_folder(config, folder, corpus.name) if group.is_first else None
    with released_on_error(path):
        check_folder_is_free(path)  # now that no other process can begin there
        trainer = _trainer(backend.trainer, config, path, corpus, model, loaders, device, name, context)
        if path is not None:
            write_config(path, config)
        trainer.timer.go_on(seconds)
        trainer.save()  # so that a run can be resumed whenever it is stopped
    return Run(path, trainer, corpus)


def resume_run(
    config: Config,
    folder: str | Path,
    *,
    context: RunContext | None = None,
    backend: TrainerBackend | None = None,
) -> Run:
    """Put a run together again as it was at its last checkpoint, ready to go on.

    Args:
        config: its configuration (``run_folder.check_run``), in which limits and intervals may have been changed.
        folder: the run folder.
        context: device, listeners, sampling.
        backend: implementation that ``training.trainer`` selects (default: modern).

    Raises:
        ValueError: there is nothing to resume, or it does not fit the configuration or the text.
        FolderInUseError: another process is at work in the folder.
        OSError: the folder cannot be written.
    """
    folder, context = Path(folder), context or RunContext()
    backend, group = _fitting(backend or TrainerBackend(), config, context.group), context.group
    path = folder if group.is_first else None
    if path is not None and path.is_dir():
        acquire(path)
    with released_on_error(path):
        return _resumed(config, folder, path, context, backend)


def _resumed(config: Config, folder: Path, path: Path | None, context: RunContext, backend: TrainerBackend) -> Run:
    """Put a run together; ``path`` is where this process writes, None in a process that does not."""
    group = context.group
    state, last = read_state(folder), saved_model(folder)
    config = tuned_before(with_absolute_paths(config), last)
    config.data.file_order = last.config.data.file_order
    brought = "init_from" in last.training  # a model to start from brings its vocabulary
    vocabulary = last.vocabulary if brought else config.data.vocabulary
    try:
        corpus = group.in_turn(lambda: backend.corpus(config, vocabulary, context.progress))
    except TextNotFoundError as error:
        raise TextNotFoundError(f"{error}; if the text has moved, give its new path beside --resume") from None
    model = backend.model(config, corpus.vocabulary.size, None)
    device = working_device(context.device, model, group)
    characters = len(corpus.split("train", config.data.train_frac, config.data.val_frac))
    config = fitted(config, model, device, group, characters)
    loaders = backend.dataloaders(config, corpus, device, _rows(config, group))
    name = last.training.get("init_from")
    trainer = _trainer(backend.trainer, config, path, corpus, model, loaders, device, name, context)
    try:
        trainer.load_state(*state)
    except DamagedStateError as error:
        raise DamagedStateError(f"{folder / STATE}: {error}; {what_stays(folder)}") from None
    if group.broadcast(float(trainer.checkpoints.best_is_lost())):
        trainer.checkpoints.forget_best()
    if path is not None:
        for abandoned in path.glob(".*.tmp"):
            abandoned.unlink(missing_ok=True)
        write_config(path, config)
    return Run(path, trainer, corpus)


def _origin(init_from: str | Path | ModelFile, context: RunContext) -> tuple[ModelFile, str]:
    """Return the model that a run starts from, and what to call it."""
    if isinstance(init_from, ModelFile):
        return init_from, "a model in memory"
    return context.open_model(init_from), os.fspath(init_from)


def _started_from(config: Config, origin: ModelFile, name: str) -> Config:
    """Take the architecture and the kind of vocabulary from a model; dropout is the new run's own, but not in 2015."""
    own = {"initialization"} if config.training.trainer == "torch7" else FOR_TRAINING
    model = origin.config.model.model_copy(update={key: getattr(config.model, key) for key in own})
    data = config.data.model_copy(update={"vocabulary": origin.vocabulary.kind})
    started = config.model_copy(update={"model": model, "data": data})
    return config_from_dict(started.model_dump(mode="json"), f"{name} to start from")


def _rows(config: Config, group: ProcessGroup) -> slice:
    """Return which of a batch's sequences are this process's.

    Raises:
        ValueError: there are fewer sequences than processes.
    """
    sequences = config.training.sequences
    if sequences < group.size:
        raise ValueError(
            f"training.batch_size {sequences} cannot be shared out among {group.size} processes;"
            " raise it, or start fewer"
        )
    return group.rows(sequences)


def _fitting(backend: TrainerBackend, config: Config, group: ProcessGroup) -> TrainerBackend:
    if backend.name != config.training.trainer:
        raise ValueError(
            f"training.trainer is {config.training.trainer}, but the run was given the backend {backend.name};"
            " give start_run and resume_run the one that the configuration names"
        )
    if backend.one_process and not group.alone:
        raise ValueError(
            f"training.trainer {backend.name} trains in one process, not in {group.size}; leave out torchrun"
        )
    if STANDARD_INPUT in config.data.sources and not group.alone:
        raise ValueError(f"standard input cannot be read by {group.size} processes; write the text to a file first")
    return backend


def _trainer(
    trainer: Callable[..., CharRNNTrainer],
    config: Config,
    folder: Path | None,
    corpus: Corpus,
    model: CharModel,
    loaders: Mapping[str, Batches],
    device: torch.device,
    init_from: str | None,
    context: RunContext,
) -> CharRNNTrainer:
    sampler, log_dir = context.sampler, config.logging.log_dir
    manager = context.device if isinstance(context.device, DeviceManager) else None
    return trainer(
        model,
        loaders,
        config,
        device,
        vocabulary=corpus.vocabulary,
        run_dir=folder,
        log_dir=Path(log_dir) / folder.resolve().name if log_dir and folder is not None else None,
        metadata=_metadata(corpus, init_from),
        callbacks=context.callbacks,
        sample=(lambda model: sampler(model, corpus.vocabulary)) if sampler is not None else None,
        group=context.group,
        manager=manager,
    )


def _metadata(corpus: Corpus, init_from: str | None) -> dict[str, Any]:
    metadata = {
        "data": corpus.name,
        "data_sha256": corpus.sha256,
        "characters": len(corpus.ids),
        "char_rnn": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    return metadata | ({"init_from": init_from} if init_from is not None else {})
