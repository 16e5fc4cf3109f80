"""Builds a model from its configuration and, optionally, saved weights.

Dimensions: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from char_rnn.models.char_model import CharGRU, CharLSTM, CharModel, CharRNN
from char_rnn.models.parameters import cell_of, check_tensors
from char_rnn.utils.config import ModelConfig

MODELS: dict[str, type[CharModel]] = {"lstm": CharLSTM, "gru": CharGRU, "rnn": CharRNN}
"""Classes by the names of their cells; other cells use `CharModel`."""


def build_model(
    config: ModelConfig,
    vocab_size: int,
    tensors: Mapping[str, np.ndarray] | None = None,
    dtype: torch.dtype | str = torch.float32,
) -> CharModel:
    """Build the model that a configuration describes, on the CPU.

    Args:
        config: Section `model` of a configuration.
        vocab_size: V, symbols in the vocabulary.
        tensors: Weights by their names in the state dict, of any floating type; they are copied. None draws new ones
            from PyTorch's global generator.
        dtype: Element type of the parameters, or its name as in `training.precision`. New weights are drawn in float32
            and converted, so a seed gives the same ones in every type.

    Raises:
        ValueError: `tensors` are not the weights of this model (nothing of its size has been allocated), or `dtype` is
            not a floating type.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype: got {dtype!r}; give a floating type such as float32 or float64")
    options = config.model_dump(exclude={"type"} if config.type == "gru" else {"type", "reset"})
    make = partial(MODELS.get(config.type) or partial(CharModel, cell=cell_of(config)), vocab_size)
    if tensors is None:
        return make(**options).to(found)
    check_tensors(config, vocab_size, tensors)
    with torch.device("meta"):
        model = make(**{**options, "initialization": "pytorch"})
    kind = np.float64 if found == torch.float64 else np.float32
    weights = {name: torch.from_numpy(array.astype(kind)).to(found) for name, array in tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model


def grown_tensors(
    config: ModelConfig, old_size: int, new_size: int, tensors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Add the parameters of new symbols, whose indices follow the old ones, to the weights of a model.

    Those of a new model are drawn from PyTorch's global generator, and the old weights replace the first rows (with
    one-hot vectors, the first columns of the lowest layer).

    Args:
        config: Section `model` of a configuration, with the old length of the embedding.
        old_size: Symbols in the vocabulary of `tensors`.
        new_size: Symbols in the grown vocabulary.
        tensors: Weights by their names in the state dict.

    Raises:
        ValueError: `tensors` are not the weights of this model, or its residual connections depend on the vocabulary.
    """
    check_tensors(config, old_size, tensors)
    if config.residual and config.embedding == "one-hot" and config.hidden_size in (old_size, new_size):
        raise ValueError(
            f"a residual model of {config.hidden_size} units with one-hot vectors cannot grow from {old_size} to"
            f" {new_size} symbols: its lowest layer has a residual connection with {config.hidden_size} symbols only"
        )
    model = build_model(config, new_size)
    grown = {name: tensor.numpy().astype(tensors[name].dtype) for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if name.startswith("matches."):  # added to one-hot vectors, which also get zeros in the new columns
            grown[name][: len(tensor)] = 0
        grown[name][tuple(map(slice, tensor.shape))] = tensor
    return grown
