"""From a configuration to a trainer: the text, the model and the run folder put together.

A run folder holds ``config.yaml``, ``metrics.jsonl``, ``best.safetensors``, ``last.safetensors``, the training state
beside them, and ``tensorboard/``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from char_rnn._version import __version__
from char_rnn.data.corpus import Corpus, DataError, prepare_corpus
from char_rnn.data.dataloader import Batches, CharDataset, create_dataloaders
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile, replacing
from char_rnn.models import CharModel, build_model
from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import STATE, CheckpointError, read_state
from char_rnn.training.trainer import CharRNNTrainer, TrainingResult
from char_rnn.utils.config import Config, load_config, to_yaml

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


def open_run(
    config: Config,
    folder: str | Path | None = None,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    init_from: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    sampler: Sampler | None = None,
    progress: PrepareProgress | None = None,
) -> Run:
    """Prepare the text, build (or load) the model, make the run folder, and return all of it ready to train.

    Args:
        config: the whole configuration; ``data.data_dir`` names the text.
        folder: the run folder; when not given, one named after the text in ``logging.checkpoint_dir``.
        device: where to train.
        resume: go on from the training state in ``folder``.
        init_from: a model file or run folder to start from; its architecture and vocabulary are taken.
        callbacks: listeners of the trainer.
        sampler: given the model and the vocabulary, returns a text to show at each evaluation.
        progress: told about the preparation of the text, as in ``prepare_corpus``.

    Raises:
        ValueError: the text, the model or the folder cannot be used; the message says how to mend it.
        OSError: the folder cannot be written.
    """
    origin = ModelFile.read(init_from) if init_from is not None else None
    vocabulary: str | Vocabulary = config.data.vocabulary
    if origin is not None:
        config = config.model_copy(update={"model": origin.config.model})
        vocabulary = origin.vocabulary
    state = read_state(_existing(folder)) if resume else None
    corpus = _corpus(config, vocabulary, progress)
    loaders = _dataloaders(config, corpus, device)
    torch.manual_seed(config.training.seed)
    tensors = origin.tensors if origin is not None else None
    model = build_model(config.model, corpus.vocabulary.size, tensors)
    if state is None:
        folder = _new_folder(config, folder, corpus.name)
        _write_config(folder, config)
    assert folder is not None
    trainer = CharRNNTrainer(
        model,
        loaders,
        config,
        device,
        vocabulary=corpus.vocabulary,
        run_dir=folder,
        log_dir=Path(config.logging.log_dir) / Path(folder).name if config.logging.log_dir else None,
        facts=_facts(corpus, init_from),
        callbacks=callbacks,
        sample=(lambda model: sampler(model, corpus.vocabulary)) if sampler is not None else None,
    )
    if state is not None:
        trainer.load_state(*state)
    return Run(Path(folder), trainer, corpus)


def read_run_config(folder: str | Path) -> Config:
    """Return the configuration a run was started with.

    Raises:
        CheckpointError: the folder is not a run folder.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder}: nothing to resume here (no {CONFIG}); give the folder that `--out` named")
    return load_config(path)


def _existing(folder: str | Path | None) -> Path:
    if folder is None:
        raise ValueError("to resume, give the run folder")
    return Path(folder)


def _corpus(config: Config, vocabulary: str | Vocabulary, progress: PrepareProgress | None) -> Corpus:
    data = config.data
    return prepare_corpus(
        data.data_dir, vocabulary=vocabulary, encoding=data.encoding, cache_dir=data.cache_dir, progress=progress
    )


def _dataloaders(config: Config, corpus: Corpus, device: torch.device | str) -> dict[str, Batches]:
    data, training = config.data, config.training
    dataset = CharDataset(corpus, training.seq_length, data.train_frac, data.val_frac)
    loaders = create_dataloaders(
        dataset,
        training.batch_size,
        data.num_workers,
        batching=data.batching,
        seed=training.seed,
        pin_memory=torch.device(device).type == "cuda",
    )
    for name in ("val", "test"):
        if name in loaders and loaders[name].split.predicted < 1:
            raise DataError(
                f"the {name} split of {corpus.name} has no character to predict; change the fractions or use more text"
            )
    return loaders


def _new_folder(config: Config, folder: str | Path | None, name: str) -> Path:
    """Make the run folder; one that holds a run already is never written over."""
    if folder is None:
        parent = Path(config.logging.checkpoint_dir)
        names = (name if number == 1 else f"{name}-{number}" for number in range(1, 10_000))
        folder = next(parent / candidate for candidate in names if not (parent / candidate).exists())
    folder = Path(folder)
    if (folder / STATE).exists() or (folder / CONFIG).exists():
        raise CheckpointError(f"{folder}: holds a run already; go on with it (--resume {folder}) or name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
