"""The 2015 program in the places of today's: what ``training.trainer: torch7`` reads, computes and trains with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharModel
from char_rnn.torch7.caches import read_caches
from char_rnn.torch7.random import Generator
from char_rnn.torch7.recipe import Torch7Trainer, initialize, set_forget_bias
from char_rnn.torch7.text import split_text
from char_rnn.training.program import PrepareProgress, Program, corpus_of, model_of
from char_rnn.utils.config import Config


def program() -> Program:
    """Return the parts of one run; its model and its trainer draw from one generator."""
    rng = Generator(0)
    return Program(
        name="torch7",
        corpus=corpus_of_2015,
        model=partial(_model, rng),
        dataloaders=_dataloaders,
        trainer=partial(Torch7Trainer, rng=rng),
        one_process=True,
    )


def corpus_of_2015(config: Config, vocabulary: str | Vocabulary, progress: PrepareProgress | None = None) -> Corpus:
    """Prepare the text; of a folder, what ``vocab.t7`` and ``data.t7`` hold when they are not out of date."""
    folder = Path(config.data.sources[0])
    alone = len(config.data.sources) == 1
    cached = read_caches(folder) if alone and os.path.isdir(folder) else None  # noqa: PTH112 (no error for any text)
    if cached is None:
        return corpus_of(config, vocabulary, progress)
    known = vocabulary if isinstance(vocabulary, Vocabulary) else cached.vocabulary
    return Corpus.from_text(cached.text, name=folder.resolve().name, vocabulary=known)


def _model(rng: Generator, config: Config, vocab_size: int, tensors: Mapping[str, np.ndarray] | None) -> CharModel:
    """Draw a new model, or go on from given weights: then nothing is drawn, and forget biases are 1 again."""
    rng.load_state_array(Generator(config.training.seed).state_array())
    model = model_of(config, vocab_size, tensors)
    if tensors is None:
        initialize(model, rng)
    else:
        set_forget_bias(model)
    return model


def _dataloaders(config: Config, corpus: Corpus, _device: torch.device, _rows: slice) -> dict[str, Batches]:
    training, data = config.training, config.data
    return split_text(corpus, training.sequences, training.seq_length, data.train_frac, data.val_frac)
