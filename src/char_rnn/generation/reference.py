"""A step of the network in NumPy, as its equations read: what the engine falls back on, and its kernels are held to.

The equations of the cells are those of :mod:`char_rnn.cells`. Each stream is computed on its own, whatever others are
computed with it: BLAS rounds a product of many vectors otherwise than that of one, and the text of a seed would depend
on the batch.

Dimensions: N streams, V vocabulary, I a layer's input, L layers, H hidden, A attending layers, W window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.cells import EPSILON, Value, evaluate, ordered
from char_rnn.generation.network import Array, Attention, FeedForward, Layer, Network, Norm, Precision
from char_rnn.generation.state import States

Tables = Mapping[Value, Array]
"""Values by symbol, (V, width) each."""

_LARGEST_TABLE = 1 << 22  # numbers

_erf = np.frompyfunc(math.erf, 1, 1)


class Reference:
    """Steps of a network, in the type of its weights; its matrices are rounded to a precision first."""

    def __init__(self, network: Network, precision: Precision) -> None:
        self.network = network.rounded(precision)
        self.tables = input_tables(network)
        self.cells = [
            Recurrence(layer, self.tables if number == 0 else None) for number, layer in enumerate(self.network.layers)
        ]

    def begin(self, states: States) -> ReferenceSteps:
        """Return what steps these streams."""
        return ReferenceSteps(self, states)


class Recurrence:
    """A recurrent layer's step.

    Args:
        layer: The layer.
        tables: Of :func:`input_tables`, where the layer has some.
    """

    def __init__(self, layer: Layer, tables: Tables | None) -> None:
        step, loop = layer.step, layer.step.loop
        self._operations = operations(layer.parameters)
        self._tables, self._states, self._after = tables or {}, loop.states, step.after
        self._x = [value for value in step.values if value.op == "x"]
        self._constants = constants(layer)
        self._order = ordered(step.after, [*self._constants, *self._tables, *self._states, *self._x])

    def __call__(self, x: Array, symbols: npt.NDArray[np.int64], state: Mapping[str, Array]) -> list[Array]:
        """Return the state after a step, its parts (N, H); `x` is (N, I), `symbols` are what the network reads."""
        results: dict[Value, Any] = {**self._constants, **dict.fromkeys(self._x, x)}
        results.update((value, table[symbols]) for value, table in self._tables.items())
        results.update((value, state[value.name]) for value in self._states)
        evaluate(self._order, results, self._operations)
        return [results[value] for value in self._after]


class ReferenceSteps:
    """The steps of some streams."""

    def __init__(self, reference: Reference, states: States) -> None:
        self._network, self._cells, self._states = reference.network, reference.cells, states
        self._has_tables = reference.tables is not None

    def log_probs(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        """Read a symbol in each of some streams.

        Args:
            rows: (N,), which streams.
            symbols: (N,), what they read.

        Returns:
            Log-probabilities of the next symbols, (N, V).
        """
        scores = self.scores(rows, symbols)
        with np.errstate(over="ignore", invalid="ignore"):
            return log_softmax(scores)

    def scores(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        """As :meth:`log_probs`, but the scores that they are made of."""
        network = self._network
        with np.errstate(over="ignore", invalid="ignore"):
            x = self._advance(rows, symbols)
            return product(network.output_weight, normalize(x, network.output_norm)) + network.output_bias

    def feed(self, row: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> None:
        """Read a text (T,) in one stream."""
        with np.errstate(over="ignore", invalid="ignore"):
            for index in range(len(symbols)):
                self._advance(row, symbols[index : index + 1])

    def _advance(self, rows: npt.NDArray[np.int64], symbols: npt.NDArray[np.int64]) -> Array:
        network, states, attending = self._network, self._states, 0
        needs_input = not self._has_tables or network.layers[0].residual
        x = vectors(network, symbols) if needs_input else np.empty((len(symbols), 0), network.output_bias.dtype)
        for number, (layer, cell) in enumerate(zip(network.layers, self._cells, strict=True)):
            read = x if self._has_tables and number == 0 else normalize(x, layer.norm)
            after = cell(read, symbols, {name: part[rows, number] for name, part in states.cells.items()})
            for part, new in zip(states.cells.values(), after, strict=True):
                part[rows, number] = new
            x = x + after[0] if layer.residual else after[0]
            if layer.attention is not None:
                past = states.past(rows, attending, normalize(x, layer.attention.norm))
                x = x + attend(layer.attention, past, normalize(x, layer.attention.norm))
                attending += 1
            if layer.feed_forward is not None:
                x = x + feed_forward(layer.feed_forward, x)
        states.turn(rows)
        return x


def vectors(network: Network, symbols: npt.NDArray[np.int64]) -> Array:
    """Return what the lowest layer's block reads of symbols (N,): (N, I)."""
    if network.embedding is not None:
        return network.embedding[symbols]
    x = np.zeros((len(symbols), network.vocab_size), network.output_bias.dtype)
    x[np.arange(len(symbols)), symbols] = 1
    return x


def constants(layer: Layer) -> dict[Value, Array]:
    """Return what a step reads that is computed from the parameters alone, (width,) each."""
    results: dict[Value, Any] = {}
    known = operations(layer.parameters)
    for value in layer.step.values:
        if value.op not in ("x", "state") and results.keys() >= set(value.inputs):
            evaluate([value], results, known)
    changing = [value for value in layer.step.values if value not in results]
    read = dict.fromkeys([*(each for value in changing for each in value.inputs), *layer.step.after])
    return {value: results[value] for value in read if isinstance(results.get(value), np.ndarray)}


def input_tables(network: Network) -> Tables | None:
    """Return what the lowest layer's step computes from its input alone, for every symbol.

    None where the state changes the input, or where the tables would be far larger than the model.
    """
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
    return _computed(loop.sequences, known, layer)


def _computed(wanted: Sequence[Value], known: Mapping[Value, Array], layer: Layer) -> dict[Value, Array]:
    results: dict[Value, Any] = dict(known)
    evaluate(ordered(wanted, known), results, operations(layer.parameters))
    return {value: results[value] for value in wanted}


def attend(attention: Attention, past: Array, x: Array) -> Array:
    """Return what states (N, H) find in the past (N, W + 1, H) that they are in, (N, H).

    Keys and values are never made, as in :func:`char_rnn.ops.attention.attend`.
    """
    heads, streams = attention.heads, len(x)
    key, value = (matrix.reshape(heads, -1, matrix.shape[1]) for matrix in (attention.key, attention.value))
    asked = product(attention.query, x).reshape(streams, heads, 1, -1) @ key  # (N, heads, 1, H)
    scores = past @ np.swapaxes(asked[:, :, 0], 1, 2) / math.sqrt(key.shape[1])  # (N, W + 1, heads)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    mean = np.swapaxes(weights, 1, 2) @ past  # (N, heads, H)
    found = (value @ mean[:, :, :, None])[:, :, :, 0]
    return product(attention.output, found.reshape(streams, -1))


def feed_forward(sublayer: FeedForward, x: Array) -> Array:
    """Return what the sublayer adds to x, (N, H)."""
    wide = product(sublayer.widen, normalize(x, sublayer.norm)) + sublayer.widen_bias
    wide *= 0.5 * (1 + np.asarray(_erf(wide / math.sqrt(2)), wide.dtype))
    return product(sublayer.narrow, wide) + sublayer.narrow_bias


def operations(parameters: Mapping[str, Array]) -> dict[str, Callable[..., Any]]:
    """Return the operations of :mod:`char_rnn.cells.language` with a layer's parameters, on arrays (..., width)."""
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
        "slice": lambda value, whole: whole[..., value.start : value.start + value.width],
        "join": _joined,
        "normalize": lambda _, rows: normalized(rows),
    }


def _matrix(value: Value, parameters: Mapping[str, Array]) -> Array:
    """Return the rows of a matrix that a product multiplies with."""
    return parameters[value.name][value.start : value.start + value.width]


def _joined(value: Value, *parts: Any) -> Array:
    rows = max((np.shape(part)[:-1] for part in parts), key=len)
    like = next(part for part in parts if isinstance(part, np.ndarray))
    shapes = [(*rows, each.width) for each in value.inputs]
    filled = [np.broadcast_to(np.asarray(part, like.dtype), shape) for part, shape in zip(parts, shapes, strict=True)]
    return np.concatenate(filled, -1)


def product(matrix: Array, vectors: Array) -> Array:
    """Return the products of a matrix (R, C) with vectors (..., C): (..., R), each as if it were alone."""
    result: Array = np.matmul(matrix, vectors[..., None])[..., 0]
    return result


def normalize(x: Array, norm: Norm | None) -> Array:
    """Bring rows (N, H) to mean 0 and variance 1, times the gain, plus the bias."""
    return x if norm is None else normalized(x) * norm.gain + norm.bias


def normalized(x: Array) -> Array:
    """Bring rows (N, H) to mean 0 and variance 1."""
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + x.dtype.type(EPSILON)))


def log_softmax(scores: Array) -> Array:
    """Log-probabilities (N, V) of scores (N, V), row by row."""
    shifted = scores - scores.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)); the exponential may overflow to infinity, which gives the 0 that is right."""
    return np.asarray(np.reciprocal(1 + np.exp(-a)))
