"""The model that a run starts from: its architecture, and its weights for a vocabulary that has grown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models.build import grown_tensors
from char_rnn.utils.config import Config, config_from_dict
from char_rnn.utils.config.model import FOR_TRAINING

ORIGIN = ("init_from", "new_symbols")
"""Metadata of a run that started from a model: its name, and the number of symbols added to its vocabulary, if any."""


def with_architecture(config: Config, model: ModelFile, name: str) -> Config:
    """Use the architecture and the kind of vocabulary of a model, and the new run's dropout, except with torch7."""
    own = {"initialization"} if config.training.trainer == "torch7" else FOR_TRAINING
    architecture = model.config.model.model_copy(update={key: getattr(config.model, key) for key in own})
    data = config.data.model_copy(update={"vocabulary": model.vocabulary.kind})
    started = config.model_copy(update={"model": architecture, "data": data})
    return config_from_dict(started.model_dump(mode="json"), f"init_from {name}")


def for_vocabulary(
    config: Config, old: Vocabulary, new: Vocabulary, tensors: Mapping[str, np.ndarray]
) -> tuple[Config, Mapping[str, np.ndarray]]:
    """Return the configuration and the weights of a model for a grown vocabulary, drawn with the seed of the run."""
    model = config.model
    if model.embedding == "learned" and not model.tie_weights:  # null means the size of the vocabulary
        model = model.model_copy(update={"embedding_size": model.input_size(old.size)})
    torch.manual_seed(config.training.seed)
    return config.model_copy(update={"model": model}), grown_tensors(model, old.size, new.size, tensors)
