"""Steps of a network in NumPy: the fallback without kernels, and the reference that tests hold the kernels to.

The equations of the cells are those of :mod:`char_rnn.cells`. Each stream is computed alone: BLAS rounds a product of
many vectors differently from that of one, and the text of a seed would depend on the batch.

Dimensions: N streams, T time, V vocabulary, I input of a layer, H hidden, W window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.cells import Value, evaluate, ordered
from char_rnn.generation.network import (
    Array,
    Attention,
    FeedForwardWeights,
    Layer,
    Matches,
    Network,
    Precision,
)
from char_rnn.generation.precompute import Tables, constants, input_tables, normalize, operations, product, vectors
from char_rnn.generation.stream_states import StreamStates

Integers = npt.NDArray[np.int64]

_erf = np.frompyfunc(math.erf, 1, 1)


class NumpyEngine:
    """A network ready to step, in the type of its weights; its matrices are rounded to a precision first."""

    def __init__(self, network: Network, precision: Precision) -> None:
        self.network = network.rounded(precision)
        self.tables = input_tables(network)
        self.cells = [
            _Recurrence(layer, self.tables if number == 0 else None) for number, layer in enumerate(self.network.layers)
        ]

    def begin(self, states: StreamStates) -> NumpySteps:
        """The steps of these streams."""
        return NumpySteps(self, states)


class _Recurrence:
    """The step of a recurrent layer, with the input tables if it has them."""

    def __init__(self, layer: Layer, tables: Tables | None) -> None:
        step, loop = layer.step, layer.step.loop
        self._operations = operations(layer.parameters)
        self._tables, self._states, self._after = tables or {}, loop.states, step.after
        self._x = [value for value in step.values if value.op == "x"]
        self._constants = constants(layer)
        self._order = ordered(step.after, [*self._constants, *self._tables, *self._states, *self._x])

    def __call__(self, x: Array, symbols: Integers, state: Mapping[str, Array]) -> list[Array]:
        """The parts (N, H) of the state after a step; `x` is (N, I), `symbols` are those that the network reads."""
        results: dict[Value, Any] = {**self._constants, **dict.fromkeys(self._x, x)}
        results.update((value, table[symbols]) for value, table in self._tables.items())
        results.update((value, state[value.name]) for value in self._states)
        evaluate(self._order, results, self._operations)
        return [results[value] for value in self._after]


class NumpySteps:
    """The steps of some streams."""

    def __init__(self, engine: NumpyEngine, states: StreamStates) -> None:
        self._network, self._cells, self._states = engine.network, engine.cells, states
        self._has_tables = engine.tables is not None

    def log_probs(self, rows: Integers, symbols: Integers) -> Array:
        """Read symbols (N,) in streams (N,); return log-probabilities (N, V) of the next symbols."""
        scores = self.scores(rows, symbols)
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = scores - scores.max(-1, keepdims=True)
            return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))

    def scores(self, rows: Integers, symbols: Integers) -> Array:
        """`log_probs` before the normalization."""
        network = self._network
        with np.errstate(over="ignore", invalid="ignore"):
            x = self._advance(rows, symbols)
            return product(network.output_weight, normalize(x, network.output_norm)) + network.output_bias

    def feed(self, rows: Integers, symbols: Integers) -> None:
        """Read texts (T, N) in streams (N,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            for read in symbols:
                self._advance(rows, read)

    def writer(self, *_: object) -> None:
        """There is no faster way to draw than symbol by symbol."""

    def _advance(self, rows: Integers, symbols: Integers) -> Array:
        network, states, attending = self._network, self._states, 0
        needs_input = not self._has_tables or network.layers[0].residual
        x = vectors(network, symbols) if needs_input else np.empty((len(symbols), 0), network.output_bias.dtype)
        if network.matches is not None:
            x = x + self._match(network.matches, rows, symbols)
        for number, (layer, cell) in enumerate(zip(network.layers, self._cells, strict=True)):
            read = x if self._has_tables and number == 0 else normalize(x, layer.norm)
            after = cell(read, symbols, {name: part[rows, number] for name, part in states.cells.items()})
            for part, new in zip(states.cells.values(), after, strict=True):
                part[rows, number] = new
            x = x + after[0] if layer.residual else after[0]
            if layer.attention is not None:
                past = states.past(rows, attending, normalize(x, layer.attention.norm))
                x = x + _attend(layer.attention, past, normalize(x, layer.attention.norm))
                attending += 1
            if layer.feed_forward is not None:
                x = x + _feed_forward(layer.feed_forward, x)
        states.turn(rows)
        return x

    def _match(self, matches: Matches, rows: Integers, symbols: Integers) -> Array:
        """The vectors (N, E) that the matches add to those of the symbols."""
        streams = zip(rows.tolist(), symbols.tolist(), strict=True)
        found = [self._states.match(row, symbol, matches.lengths) for row, symbol in streams]
        added = [table[match] for table, match in zip(matches.tables, np.array(found).T, strict=True)]
        return np.asarray(sum(added[1:], added[0]))


def _attend(attention: Attention, past: Array, x: Array) -> Array:
    """Attention (N, H) of states (N, H) to the past (N, W + 1, H) that they are part of.

    Keys and values are not computed, as in :func:`char_rnn.ops.attention.attend`.
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


def _feed_forward(sublayer: FeedForwardWeights, x: Array) -> Array:
    """What the sublayer adds to x, (N, H)."""
    wide = product(sublayer.widen, normalize(x, sublayer.norm)) + sublayer.widen_bias
    wide *= 0.5 * (1 + np.asarray(_erf(wide / math.sqrt(2)), wide.dtype))
    return product(sublayer.narrow, wide) + sublayer.narrow_bias
