"""From the configuration, and from saved weights, to a model.

Dimensions: V vocabulary, E embedding size, H hidden, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from char_rnn.models.base import CharModel
from char_rnn.models.gru import CharGRU
from char_rnn.models.layers import PARAMETERS
from char_rnn.models.lstm import CharLSTM
from char_rnn.models.rnn import CharRNN
from char_rnn.utils.config import ModelConfig

MODELS: dict[str, type[CharModel]] = {"lstm": CharLSTM, "gru": CharGRU, "rnn": CharRNN}


def build_model(config: ModelConfig, vocab_size: int, tensors: Mapping[str, np.ndarray] | None = None) -> CharModel:
    """Make the model that a configuration describes, in float32 on the CPU.

    Args:
        config: The section `model` of a configuration.
        vocab_size: V, symbols in the vocabulary.
        tensors: Weights by their names in the state dict, of any floating type; they are copied. None draws new ones
            from PyTorch's global generator.

    Raises:
        ValueError: `tensors` are not the weights of this model. Nothing of the model's size has been allocated then.
    """
    if tensors is None:
        return _make(config, vocab_size, config.initialization)
    _check_tensors(config, vocab_size, tensors)
    with torch.device("meta"):
        model = _make(config, vocab_size, "pytorch")
    weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model


def _make(config: ModelConfig, vocab_size: int, initialization: str) -> CharModel:
    options = {"reset": config.reset} if config.type == "gru" else {}
    return MODELS[config.type](
        vocab_size,
        config.hidden_size,
        config.num_layers,
        config.dropout,
        embedding=config.embedding,
        embedding_size=config.embedding_size,
        initialization=initialization,
        **options,
    )


def _check_tensors(config: ModelConfig, vocab_size: int, tensors: Mapping[str, np.ndarray]) -> None:
    expected = set()
    for name, shape in _parameter_shapes(config, vocab_size):
        if name not in tensors:
            raise ValueError(
                f"weights: {name} is missing; they are not those of the model that the configuration describes"
            )
        if tensors[name].shape != shape:
            raise ValueError(f"weights: {name} has shape {tensors[name].shape}, but the configuration makes it {shape}")
        if tensors[name].dtype.kind != "f":
            raise ValueError(f"weights: {name} holds {tensors[name].dtype}, not floating-point numbers")
        expected.add(name)
    for name in tensors:
        if name not in expected:
            raise ValueError(f"weights: {name} has no place in the model that the configuration describes")


def _parameter_shapes(config: ModelConfig, vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of a model's state dict, without the model: a false configuration can name any size."""
    embedding_size = config.embedding_size or vocab_size
    if config.embedding == "learned":
        yield "embedding.weight", (vocab_size, embedding_size)
    hidden_size = config.hidden_size
    rows = MODELS[config.type].num_gates * hidden_size
    for layer in range(config.num_layers):
        columns = hidden_size if layer else embedding_size
        for name, shape in zip(PARAMETERS, ((rows, columns), (rows, hidden_size), (rows,), (rows,)), strict=True):
            yield f"{config.type}.{name}_l{layer}", shape
    yield "output_proj.weight", (vocab_size, hidden_size)
    yield "output_proj.bias", (vocab_size,)
