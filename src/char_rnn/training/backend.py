"""The steps that make a run, in one class: read the text, build the model, cut batches, make the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.dataloader import Batches, CharDataset, create_dataloaders
from char_rnn.data.datasets import Progress
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharModel, build_model
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import Config


class TrainerBackend:
    """The implementation that ``training.trainer`` selects: this one is ``modern``; subclasses provide others.

    Attributes:
        name: value of ``training.trainer``.
        one_process: whether it trains in a single process only.
    """

    name = "modern"
    one_process = False

    def corpus(
        self, config: Config, vocabulary: str | Vocabulary, progress: Progress | None = None, *, grow: bool = False
    ) -> Corpus:
        """Encode the text of ``data.data_dir`` with its own vocabulary of the given kind, or with a given one.

        With ``grow``, the symbols that a given vocabulary lacks are added to it.
        """
        data = config.data
        return prepare_corpus(
            data.data_dir,
            vocabulary=vocabulary,
            grow=grow,
            encoding=data.encoding,
            separator=data.separator,
            file_order=data.file_order,
            cache_dir=data.cache_dir,
            progress=progress,
        )

    def model(self, config: Config, vocab_size: int, tensors: Mapping[str, np.ndarray] | None = None) -> CharModel:
        """Seed PyTorch's generator and build the model, with new weights or the given ones."""
        torch.manual_seed(config.training.seed)
        return build_model(config.model, vocab_size, tensors, config.training.parameter_type)

    def dataloaders(self, config: Config, corpus: Corpus, device: torch.device, rows: slice) -> dict[str, Batches]:
        """Split the text and cut it into batches; this process gets ``rows`` of each."""
        data, training = config.data, config.training
        dataset = CharDataset(corpus, training.seq_length, data.train_frac, data.val_frac)
        return create_dataloaders(
            dataset,
            training.sequences,
            data.num_workers,
            batching=data.batching,
            seed=training.seed,
            pin_memory=device.type == "cuda",
            rows=rows,
        )

    def trainer(self, *arguments: Any, **options: Any) -> CharRNNTrainer:
        """Make the trainer; arguments as for ``CharRNNTrainer``."""
        return CharRNNTrainer(*arguments, **options)
