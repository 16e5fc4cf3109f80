"""What a run is made with, part by part: how its text is read, its model made, its batches cut, its steps made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.dataloader import Batches, CharDataset, create_dataloaders
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharModel, build_model
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import Config

PrepareProgress = Callable[[str, int, int | None], None]


def corpus_of(config: Config, vocabulary: str | Vocabulary, progress: PrepareProgress | None = None) -> Corpus:
    """Prepare the text that ``data.data_dir`` names, in its own vocabulary of the given kind or in a given one."""
    data = config.data
    return prepare_corpus(
        data.data_dir,
        vocabulary=vocabulary,
        encoding=data.encoding,
        separator=data.separator,
        file_order=data.file_order,
        cache_dir=data.cache_dir,
        progress=progress,
    )


def model_of(config: Config, vocab_size: int, tensors: Mapping[str, np.ndarray] | None = None) -> CharModel:
    """Seed PyTorch's generator and make the model, of ``training.precision``, from new weights or given ones."""
    torch.manual_seed(config.training.seed)
    return build_model(config.model, vocab_size, tensors, config.training.parameter_type)


def dataloaders_of(config: Config, corpus: Corpus, device: torch.device, rows: slice) -> dict[str, Batches]:
    """Split the text and cut it into batches, of which this process gets some rows."""
    data, training = config.data, config.training
    dataset = CharDataset(corpus, training.seq_length, data.train_frac, data.val_frac)
    return create_dataloaders(
        dataset,
        training.sequences,
        data.num_workers,
        batching=data.batching,
        seed=training.seed,
        random_segments=training.random_segments,
        pin_memory=device.type == "cuda",
        rows=rows,
    )


@dataclass(frozen=True)
class Program:
    """What reads, computes and trains: today's parts, or others in their places.

    Attributes:
        name: what ``training.trainer`` calls it.
        corpus: prepares the text; see ``corpus_of``.
        model: makes the model; see ``model_of``. It seeds what it draws from.
        dataloaders: splits the text and batches it; see ``dataloaders_of``.
        trainer: makes the trainer; called as ``CharRNNTrainer``.
        one_process: whether it cannot share its batches with other processes.
    """

    name: str = "modern"
    corpus: Callable[[Config, str | Vocabulary, PrepareProgress | None], Corpus] = corpus_of
    model: Callable[[Config, int, Mapping[str, np.ndarray] | None], CharModel] = model_of
    dataloaders: Callable[[Config, Corpus, torch.device, slice], dict[str, Batches]] = dataloaders_of
    trainer: Callable[..., CharRNNTrainer] = CharRNNTrainer
    one_process: bool = False
