"""The names and shapes of a model's parameters, from its configuration alone: NumPy only, no PyTorch.

Dimensions: V vocabulary, E embedding size, H hidden, L layers, G gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from char_rnn.utils.config import ModelConfig

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NUM_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def check_tensors(config: ModelConfig, vocab_size: int, tensors: Mapping[str, np.ndarray]) -> None:
    """Check that tensors are the weights of the model that a configuration describes.

    Raises:
        ValueError: One is missing, is too many, or has another shape or no floating-point numbers.
    """
    expected = set()
    for name, shape in parameter_shapes(config, vocab_size):
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


def parameter_shapes(config: ModelConfig, vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of a model's state dict, without the model: a false configuration can name any size."""
    embedding_size = config.embedding_size or vocab_size
    if config.embedding == "learned":
        yield "embedding.weight", (vocab_size, embedding_size)
    hidden_size = config.hidden_size
    rows = NUM_GATES[config.type] * hidden_size
    for layer in range(config.num_layers):
        columns = hidden_size if layer else embedding_size
        for name, shape in zip(PARAMETERS, ((rows, columns), (rows, hidden_size), (rows,), (rows,)), strict=True):
            yield f"{config.type}.{name}_l{layer}", shape
    yield "output_proj.weight", (vocab_size, hidden_size)
    yield "output_proj.bias", (vocab_size,)
