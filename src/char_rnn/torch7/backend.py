"""The backend of ``training.trainer: torch7``: text, model, batches and training of the 2015 program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharModel
from char_rnn.torch7.random import Generator
from char_rnn.torch7.text import read_caches, split_text
from char_rnn.torch7.trainer import Torch7Trainer, initialize, set_forget_bias
from char_rnn.training.backend import PrepareProgress, TrainerBackend
from char_rnn.utils.config import Config


class Torch7Backend(TrainerBackend):
    """The 2015 program, for one run: its model and its trainer draw from one generator."""

    name = "torch7"
    one_process = True

    def __init__(self) -> None:
        self._rng = Generator(0)

    def corpus(self, config: Config, vocabulary: str | Vocabulary, progress: PrepareProgress | None = None) -> Corpus:
        """Encode the text; of a folder, what ``vocab.t7`` and ``data.t7`` hold when they are not out of date."""
        folder = Path(config.data.sources[0])
        alone = len(config.data.sources) == 1
        cached = read_caches(folder) if alone and os.path.isdir(folder) else None  # noqa: PTH112 (no error for any text)
        if cached is None:
            return super().corpus(config, vocabulary, progress)
        known = vocabulary if isinstance(vocabulary, Vocabulary) else cached.vocabulary
        return Corpus.from_text(cached.text, name=folder.resolve().name, vocabulary=known)

    def model(self, config: Config, vocab_size: int, tensors: Mapping[str, np.ndarray] | None = None) -> CharModel:
        """Draw a new model, or use the given weights: then nothing is drawn, and forget biases are 1 again."""
        self._rng.load_state_array(Generator(config.training.seed).state_array())
        model = super().model(config, vocab_size, tensors)
        if tensors is None:
            initialize(model, self._rng)
        else:
            set_forget_bias(model)
        return model

    def dataloaders(self, config: Config, corpus: Corpus, device: torch.device, rows: slice) -> dict[str, Batches]:
        """Split the text and cut it into batches as ``train.lua``."""
        training, data = config.training, config.data
        return split_text(corpus, training.sequences, training.seq_length, data.train_frac, data.val_frac)

    def trainer(self, *arguments: Any, **options: Any) -> Torch7Trainer:
        """Make the trainer, which continues the model's generator."""
        return Torch7Trainer(*arguments, rng=self._rng, **options)
