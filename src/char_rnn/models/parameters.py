"""Names and shapes of a model's parameters, from its configuration alone, without PyTorch.

Dimensions: V vocabulary, H hidden, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from char_rnn.cells import CELLS, GRU, Cell
from char_rnn.utils.config import ModelConfig

Named = tuple[str, tuple[int, ...]]


def cell_of(config: ModelConfig) -> Cell:
    """Return the cell that a configuration names."""
    return GRU(config.reset) if config.type == GRU.name else CELLS[config.type]()


def check_tensors(config: ModelConfig, vocab_size: int, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if tensors are not the weights of the model that a configuration describes."""
    expected = set()
    for name, shape in parameter_shapes(config, vocab_size):
        if name not in tensors:
            raise ValueError(f"weights: {name} is missing; the weights do not match the configuration")
        if tensors[name].shape != shape:
            raise ValueError(f"weights: {name} has shape {tensors[name].shape}, but the configuration requires {shape}")
        if tensors[name].dtype.kind != "f":
            raise ValueError(f"weights: {name} holds {tensors[name].dtype}, not floating-point numbers")
        expected.add(name)
    for name in tensors:
        if name not in expected:
            raise ValueError(f"weights: the model of the configuration has no parameter {name}")


def check_finite(tensors: Mapping[str, np.ndarray], dtype: npt.DTypeLike | None = None) -> None:
    """Raise ValueError if weights, converted to `dtype` if it is given, are not all finite."""
    for name, tensor in tensors.items():
        with np.errstate(over="ignore"):
            finite = np.isfinite(tensor if dtype is None else tensor.astype(dtype)).all()
        if not finite:
            raise ValueError(f"weights: {name} contains NaN or infinity; the model's training has diverged")


def parameter_shapes(config: ModelConfig, vocab_size: int) -> Iterator[Named]:
    """Yield the names and shapes of a state dict without making the model: a wrong configuration can have any size."""
    input_size, hidden_size = config.input_size(vocab_size), config.hidden_size
    if config.embedding == "learned":
        yield "embedding.weight", (vocab_size, input_size)
    for number in range(len(config.match_lengths)):
        yield f"matches.{number}.weight", (1 + vocab_size, input_size)
    cell, normed = cell_of(config), config.layer_norm == "cell"
    for layer in range(config.num_layers):
        columns = hidden_size if layer else input_size
        parameters = cell.shapes(columns, hidden_size, normed=normed, mogrifier=config.mogrifier_rounds)
        yield from ((f"{cell.name}.{name}_l{layer}", shape) for name, shape in parameters.items())
    for layer in range(config.num_layers):
        shapes = _block(config, layer, hidden_size if layer else input_size)
        yield from ((f"blocks.{layer}.{name}", shape) for name, shape in shapes)
    if config.layer_norm == "between":
        yield from _norm("output_norm", hidden_size)
    if not config.tie_weights:
        yield "output_proj.weight", (vocab_size, hidden_size)
    yield "output_proj.bias", (vocab_size,)


def _block(config: ModelConfig, layer: int, input_size: int) -> Iterator[Named]:
    """Yield the parameters around a recurrent layer."""
    hidden_size, wide = config.hidden_size, config.feed_forward_size
    if config.layer_norm == "between":
        yield from _norm("norm", input_size)
    if config.attention == "all" or (config.attention == "top" and layer == config.num_layers - 1):
        yield from _norm("attention.norm", hidden_size)
        for name in ("query", "key", "value", "output"):
            yield f"attention.{name}.weight", (hidden_size, hidden_size)
    if wide is not None:
        yield from _norm("feed_forward.norm", hidden_size)
        yield "feed_forward.widen.weight", (wide, hidden_size)
        yield "feed_forward.widen.bias", (wide,)
        yield "feed_forward.narrow.weight", (hidden_size, wide)
        yield "feed_forward.narrow.bias", (hidden_size,)


def _norm(name: str, size: int) -> Iterator[Named]:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)
