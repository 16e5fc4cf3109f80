"""A small text and a function that makes trainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from training_helpers import small_config

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import CharModel, build_model
from char_rnn.training import CharRNNTrainer
from char_rnn.training.teachers import Teacher
from char_rnn.utils.config import Config, ModelConfig


def teacher_of(name: str, vocab_size: int) -> CharModel:
    """A teacher with random weights: its name is the type of its cells."""
    torch.manual_seed(len(name))
    return build_model(ModelConfig(type=name, hidden_size=8, num_layers=1, initialization="xavier"), vocab_size)


@pytest.fixture
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    words = ["rose ", "thorn ", "leaf\n", "root, ", "bee. "]
    return Corpus.from_text("".join(rng.choice(words, 190)), name="garden")


@pytest.fixture
def make_trainer(corpus: Corpus) -> Callable[..., CharRNNTrainer]:
    """Return a function (config, **options) -> trainer, the same one every time it is called."""

    def make(config: Config | None = None, **options: Any) -> CharRNNTrainer:
        config, text = config or small_config(), options.pop("corpus", corpus)
        dataset = CharDataset(text, config.training.seq_length, config.data.train_frac, config.data.val_frac)
        loaders = create_dataloaders(
            dataset,
            config.training.batch_size,
            batching=config.data.batching,
            seed=config.training.seed,
        )
        torch.manual_seed(config.training.seed)
        model = build_model(config.model, text.vocabulary.size, dtype=config.training.precision)
        names = config.training.teachers
        options.setdefault("teachers", [Teacher(name, teacher_of(name, text.vocabulary.size), name) for name in names])
        options.setdefault("vocabulary", text.vocabulary)
        options.setdefault("metadata", {"data": text.name, "data_sha256": text.sha256})
        return CharRNNTrainer(model, loaders, config, **options)

    return make
