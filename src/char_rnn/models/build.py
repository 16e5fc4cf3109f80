"""From the configuration, and from saved weights, to a model.

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
"""Classes of their own, by the names of their cells."""


def build_model(
    config: ModelConfig,
    vocab_size: int,
    tensors: Mapping[str, np.ndarray] | None = None,
    dtype: torch.dtype | str = torch.float32,
) -> CharModel:
    """Make the model that a configuration describes, on the CPU.

    Args:
        config: The section `model` of a configuration.
        vocab_size: V, symbols in the vocabulary.
        tensors: Weights by their names in the state dict, of any floating type; they are copied. None draws new ones
            from PyTorch's global generator.
        dtype: Element type of the parameters, or its name as in `training.precision`. New weights are drawn in
            float32 and converted, so that a seed gives the same ones in every type.

    Raises:
        ValueError: `tensors` are not the weights of this model, and nothing of the model's size has been allocated; or
            `dtype` is no floating type.
    """
    dtype = _floating(dtype)
    if tensors is None:
        return _make(config, vocab_size, config.initialization).to(dtype)
    check_tensors(config, vocab_size, tensors)
    with torch.device("meta"):
        model = _make(config, vocab_size, "pytorch")
    kind = np.float64 if dtype == torch.float64 else np.float32
    weights = {name: torch.from_numpy(array.astype(kind)).to(dtype) for name, array in tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model


def _floating(dtype: torch.dtype | str) -> torch.dtype:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype: got {dtype!r}; give a floating type such as float32 or float64")
    return found


def _make(config: ModelConfig, vocab_size: int, initialization: str) -> CharModel:
    options = config.model_dump(exclude={"type"} if config.type == "gru" else {"type", "reset"})
    make = MODELS.get(config.type) or partial(CharModel, cell=cell_of(config))
    return make(vocab_size, **{**options, "initialization": initialization})
