"""NumPy operations of the cells' language, and what a network computes before it decodes.

The kernels' graph and the NumPy engine both read constants and input tables from here.

Dimensions: N streams, V vocabulary, I input of a layer, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.cells import EPSILON, Value, evaluate, ordered
from char_rnn.generation.network import Array, Layer, Network, Norm

Tables = Mapping[Value, Array]
"""Values by symbol, (V, width) each."""

_LARGEST_TABLE = 1 << 22  # numbers


def constants(layer: Layer) -> dict[Value, Array]:
    """The values of a step that depend on the parameters only, (width,) each."""
    results: dict[Value, Any] = {}
    known = operations(layer.parameters)
    for value in layer.step.values:
        if value.op not in ("x", "state") and results.keys() >= set(value.inputs):
            evaluate([value], results, known)
    changing = [value for value in layer.step.values if value not in results]
    read = dict.fromkeys([*(each for value in changing for each in value.inputs), *layer.step.after])
    return {value: results[value] for value in read if isinstance(results.get(value), np.ndarray)}


def input_tables(network: Network) -> Tables | None:
    """The values that the lowest layer's step computes from its input alone, for every symbol.

    ``None`` if the input depends on the state, or if the tables would be far larger than the model.
    """
    if network.matches is not None:
        return None
    layer, loop = network.layers[0], network.layers[0].step.loop
    readers = [value for value in loop.before if any(each.op == "x" for each in value.inputs)]
    of_columns = network.embedding is None and layer.norm is None and all(value.op == "product" for value in readers)
    size = network.vocab_size * sum(value.width for value in loop.sequences)
    if any(value.op == "x" for value in loop.sequences) or (size > _LARGEST_TABLE and not of_columns):
        return None
    known: dict[Value, Array]
    if of_columns:  # the products with one-hot vectors
        known = {value: _matrix(value, layer.parameters).T for value in readers}
    else:
        x = normalize(vectors(network, np.arange(network.vocab_size)), layer.norm)
        known = {value: x for value in loop.before if value.op == "x"}
    results: dict[Value, Any] = dict(known)
    evaluate(ordered(loop.sequences, known), results, operations(layer.parameters))
    return {value: results[value] for value in loop.sequences}


def vectors(network: Network, symbols: npt.NDArray[np.int64]) -> Array:
    """Input (N, I) of the lowest layer's block for symbols (N,)."""
    if network.embedding is not None:
        return network.embedding[symbols]
    x = np.zeros((len(symbols), network.vocab_size), network.output_bias.dtype)
    x[np.arange(len(symbols)), symbols] = 1
    return x


def operations(parameters: Mapping[str, Array]) -> dict[str, Callable[..., Any]]:
    """The operations of :mod:`char_rnn.cells.language` with a layer's parameters, on arrays (..., width)."""
    return {
        "vector": lambda value: parameters[value.name],
        "number": lambda value: value.number,
        "product": lambda value, read: product(_matrix(value, parameters), read),
        "add": lambda _, left, right: left + right,
        "subtract": lambda _, left, right: left - right,
        "multiply": lambda _, left, right: left * right,
        "sigmoid": lambda _, a: sigmoid(a),
        "tanh": lambda _, a: np.tanh(a),
        "relu": lambda _, a: np.maximum(a, 0),
        "softplus": lambda _, a: np.logaddexp(a, 0),
        "slice": lambda value, whole: whole[..., value.start : value.start + value.width],
        "join": _joined,
        "normalize": lambda _, rows: normalized(rows),
    }


def _matrix(value: Value, parameters: Mapping[str, Array]) -> Array:
    """The rows of a parameter that a product multiplies with."""
    return parameters[value.name][value.start : value.start + value.width]


def _joined(value: Value, *parts: Any) -> Array:
    rows = max((np.shape(part)[:-1] for part in parts), key=len)
    like = next(part for part in parts if isinstance(part, np.ndarray))
    shapes = [(*rows, each.width) for each in value.inputs]
    filled = [np.broadcast_to(np.asarray(part, like.dtype), shape) for part, shape in zip(parts, shapes, strict=True)]
    return np.concatenate(filled, -1)


def product(matrix: Array, vectors: Array) -> Array:
    """Products (..., R) of a matrix (R, C) with vectors (..., C), each as if it were alone."""
    result: Array = np.matmul(matrix, vectors[..., None])[..., 0]
    return result


def normalize(x: Array, norm: Norm | None) -> Array:
    """Rows (N, H) with mean 0 and variance 1, times the gain, plus the bias."""
    return x if norm is None else normalized(x) * norm.gain + norm.bias


def normalized(x: Array) -> Array:
    """Rows (N, H) with mean 0 and variance 1."""
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + x.dtype.type(EPSILON)))


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)); the exponential may overflow to infinity, which gives the correct 0."""
    return np.asarray(np.reciprocal(1 + np.exp(-a)))
