"""A model's weights, arranged for decoding, for both engines.

Dimensions: N streams, V vocabulary, E embedding size, L layers, H hidden, F feed-forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from char_rnn.cells import Cell, Step, trace
from char_rnn.models.parameters import cell_of, check_tensors
from char_rnn.models.quantization import dequantized, quantized
from char_rnn.utils.config import ModelConfig

Array = npt.NDArray[np.floating[Any]]
Precision = Literal["float64", "float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float64", "float32", "bfloat16", "int8")


@dataclass(frozen=True)
class Norm:
    """Gain and bias of a layer normalization, each as long as its input."""

    gain: Array
    bias: Array


@dataclass(frozen=True)
class Attention:
    """The sublayer that attends to its own state and the W states before it; matrices (H, H), rows head by head."""

    norm: Norm
    query: Array
    key: Array
    value: Array
    output: Array
    heads: int
    window: int


@dataclass(frozen=True)
class FeedForwardWeights:
    """The sublayer with the matrices `widen`, (F, H), and `narrow`, (H, F)."""

    norm: Norm
    widen: Array
    widen_bias: Array
    narrow: Array
    narrow_bias: Array


@dataclass(frozen=True)
class Matches:
    """Vectors of the symbols that followed matches; see :mod:`char_rnn.ops.matching`.

    Attributes:
        tables: Vectors (1 + V, E) for each length; the first is for no match.
        lengths: Lengths of matches, in symbols, rising.
        window: Number of previous symbols searched for matches.
    """

    tables: tuple[Array, ...]
    lengths: tuple[int, ...]
    window: int


@dataclass(frozen=True)
class Layer:
    """A recurrent layer and its sublayers.

    Attributes:
        parameters: Parameters of the cell, by name.
        step: Its equations, including zoneout.
        norm: Normalization of the input.
        residual: Whether the input is added to the output.
        attention: Attention sublayer.
        feed_forward: Feed-forward sublayer.
    """

    parameters: Mapping[str, Array]
    step: Step
    norm: Norm | None
    residual: bool
    attention: Attention | None
    feed_forward: FeedForwardWeights | None


@dataclass(frozen=True)
class Network:
    """A whole model.

    Attributes:
        cell: Cell of the recurrent layers.
        hidden_size: H.
        update: Fraction of the state that a step replaces; 1 without zoneout.
        embedding: Vectors (V, E) of the symbols; ``None`` = one-hot vectors.
        matches: Vectors that are added to that of the symbol.
        layers: The L layers.
        output_norm: Normalization of the output.
        output_weight: (V, H).
        output_bias: (V,).
    """

    cell: Cell
    hidden_size: int
    update: float
    embedding: Array | None
    matches: Matches | None
    layers: tuple[Layer, ...]
    output_norm: Norm | None
    output_weight: Array
    output_bias: Array

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.output_bias)

    @classmethod
    def of(cls, config: ModelConfig, tensors: Mapping[str, npt.NDArray[Any]], dtype: npt.DTypeLike) -> Network:
        """Arrange a model's weights.

        `tensors` are by their names in the state dict, `dtype` is float32 or float64. The network shares those of this
        type with the caller. Raises `ValueError` if they are not the weights of this model.
        """
        output_bias = tensors.get("output_proj.bias")
        vocab_size = len(output_bias) if output_bias is not None and output_bias.ndim == 1 else 1
        check_tensors(config, vocab_size, tensors)
        weights = {name: np.asarray(tensor, dtype, order="C") for name, tensor in tensors.items()}
        embedding = weights.get("embedding.weight")
        return cls(
            cell_of(config),
            config.hidden_size,
            1 - config.zoneout,
            embedding,
            _matches(config, weights),
            tuple(_layer(config, weights, number) for number in range(config.num_layers)),
            _norm(weights, "output_norm"),
            weights["embedding.weight" if config.tie_weights else "output_proj.weight"],
            weights["output_proj.bias"],
        )

    def rounded(self, precision: Precision) -> Network:
        """The network with its matrices, but the embedding, rounded to a precision."""
        layers = tuple(_rounded_parts(layer, precision) for layer in self.layers)
        return replace(self, layers=layers, output_weight=rounded(self.output_weight, precision))


def _rounded_parts(part: Any, precision: Precision) -> Any:
    """Round the matrices of a dataclass and of the dataclasses in it."""
    changes: dict[str, Any] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, (Attention, FeedForwardWeights)):
            changes[field.name] = _rounded_parts(value, precision)
        elif field.name == "parameters":
            matrices = {name: rounded(array, precision) for name, array in value.items() if array.ndim == 2}
            changes[field.name] = {**value, **matrices}
        elif isinstance(value, np.ndarray) and value.ndim == 2:
            changes[field.name] = rounded(value, precision)
    if isinstance(part, Attention):  # its keys are multiplied transposed, one head at a time
        heads = np.split(part.key, part.heads)
        changes["key"] = np.concatenate([rounded(head.T, precision).T for head in heads])
    return replace(part, **changes)


def quantize(matrix: Array, precision: Precision) -> tuple[npt.NDArray[Any], Array | None]:
    """Round a matrix (R, C) to a precision.

    Returns:
        Its numbers: unchanged; for "bfloat16" the upper halves of float32 as uint16; or for "int8" int8. And for "int8"
        the scales (R,) of the rows, else ``None``.
    """
    if precision == "bfloat16":
        bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32)
        to_even = (bits >> np.uint32(16)) & np.uint32(1)
        kept = ((bits + np.uint32(0x7FFF) + to_even) >> np.uint32(16)).astype(np.uint16)
        kept[np.isnan(matrix)] = 0x7FC0  # the sum may have passed the largest NaN
        return kept, None
    if precision == "int8":
        return quantized(matrix)
    return matrix, None


def rounded(matrix: Array, precision: Precision) -> Array:
    """A matrix after :func:`quantize`, in its own type."""
    kept, scales = quantize(matrix, precision)
    if precision == "bfloat16":
        widened: Array = (kept.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return widened
    return kept if scales is None else dequantized(kept, scales)


def _layer(config: ModelConfig, weights: Mapping[str, Array], number: int) -> Layer:
    cell, hidden = cell_of(config), config.hidden_size
    columns = weights[f"{cell.name}.weight_ih_l{number}"].shape[1]
    step = trace(
        cell,
        columns,
        hidden,
        normed=config.layer_norm == "cell",
        mogrifier=config.mogrifier_rounds,
        zoneout=1 - config.zoneout if config.zoneout else False,
    )
    block = f"blocks.{number}"
    return Layer(
        {name: weights[f"{cell.name}.{name}_l{number}"] for name in step.shapes},
        step,
        _norm(weights, f"{block}.norm"),
        config.residual and columns == hidden,
        _attention(config, weights, f"{block}.attention"),
        _feed_forward(weights, f"{block}.feed_forward"),
    )


def _norm(weights: Mapping[str, Array], name: str) -> Norm | None:
    gain = weights.get(f"{name}.weight")
    return None if gain is None else Norm(gain, weights[f"{name}.bias"])


def _attention(config: ModelConfig, weights: Mapping[str, Array], name: str) -> Attention | None:
    norm = _norm(weights, f"{name}.norm")
    if norm is None:
        return None
    query, key, value, output = (weights[f"{name}.{part}.weight"] for part in ("query", "key", "value", "output"))
    return Attention(norm, query, key, value, output, config.attention_heads, config.attention_window)


def _matches(config: ModelConfig, weights: Mapping[str, Array]) -> Matches | None:
    lengths = config.match_lengths
    rising = sorted(range(len(lengths)), key=lengths.__getitem__)
    tables = tuple(weights[f"matches.{number}.weight"] for number in rising)
    return Matches(tables, tuple(sorted(lengths)), config.match_window) if tables else None


def _feed_forward(weights: Mapping[str, Array], name: str) -> FeedForwardWeights | None:
    norm = _norm(weights, f"{name}.norm")
    if norm is None:
        return None
    parts = (weights[f"{name}.{part}"] for part in ("widen.weight", "widen.bias", "narrow.weight", "narrow.bias"))
    return FeedForwardWeights(norm, *parts)
