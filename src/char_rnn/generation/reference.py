"""A step of the network in NumPy, as its equations read: what the engine falls back on, and its kernels are held to.

The equations of the cells are those of :mod:`char_rnn.ops`. Each stream is computed on its own, whatever others are
computed with it: BLAS rounds a product of many vectors otherwise than that of one, and the text of a seed would depend
on the batch.

Dimensions: N streams, V vocabulary, I a layer's input, L layers, H hidden, A attending layers, W window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import EPSILON, Array, Attention, FeedForward, Layer, Network, Norm, Precision
from char_rnn.generation.state import States

_LARGEST_TABLE = 1 << 22  # numbers

_erf = np.frompyfunc(math.erf, 1, 1)


class Reference:
    """Steps of a network, in the type of its weights; its matrices are rounded to a precision first."""

    def __init__(self, network: Network, precision: Precision) -> None:
        self.network = network.rounded(precision)
        self.table = input_table(network)

    def begin(self, states: States) -> ReferenceSteps:
        """Return what steps these streams."""
        return ReferenceSteps(self.network, self.table, states)


class ReferenceSteps:
    """The steps of some streams."""

    def __init__(self, network: Network, table: Array | None, states: States) -> None:
        self._network, self._table, self._states = network, table, states

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
        needs_input = self._table is None or network.layers[0].residual
        x = vectors(network, symbols) if needs_input else np.empty((len(symbols), 0), states.h.dtype)
        for number, layer in enumerate(network.layers):
            of_input = self._table[symbols] if self._table is not None and number == 0 else None
            output = self._recur(layer, number, x, of_input, rows)
            x = x + output if layer.residual else output
            if layer.attention is not None:
                past = states.past(rows, attending, normalize(x, layer.attention.norm))
                x = x + attend(layer.attention, past, normalize(x, layer.attention.norm))
                attending += 1
            if layer.feed_forward is not None:
                x = x + feed_forward(layer.feed_forward, x)
        states.turn(rows)
        return x

    def _recur(self, layer: Layer, number: int, x: Array, of_input: Array | None, rows: npt.NDArray[np.int64]) -> Array:
        """Advance a recurrent layer, and return its output, (N, H); `of_input` is its table's row, where it has one."""
        network, states = self._network, self._states
        read, read_h = (x if of_input is not None else normalize(x, layer.norm)), states.h[rows, number]
        h = read_h
        for index, matrix in enumerate(layer.mogrifier):
            if index % 2 == 0:
                read = 2 * sigmoid(product(matrix, read_h)) * read
            else:
                read_h = 2 * sigmoid(product(matrix, read)) * read_h
        if of_input is None:
            of_input = input_arguments(network, layer, read)
        if network.cell == "lstm":
            c = states.c[rows, number]
            new_h, new_c = _lstm(layer, of_input, read_h, c)
            states.c[rows, number] = _updated(c, new_c, network.update)
        elif network.cell == "rnn":
            new_h = _rnn(layer, of_input, read_h)
        else:
            new_h = _gru(layer, of_input, read_h, before=network.cell == "gru_before")
        output = _updated(h, new_h, network.update)
        states.h[rows, number] = output
        return output


def vectors(network: Network, symbols: npt.NDArray[np.int64]) -> Array:
    """Return what the lowest layer's block reads of symbols (N,): (N, I)."""
    if network.embedding is not None:
        return network.embedding[symbols]
    x = np.zeros((len(symbols), network.vocab_size), network.output_bias.dtype)
    x[np.arange(len(symbols)), symbols] = 1
    return x


def input_arguments(network: Network, layer: Layer, read: Array | None) -> Array:
    """Return what a layer's input (N, I), normalized and mogrified, adds to the arguments of its gates: (N, GH).

    Without any it is each of the one-hot vectors, (V, V), whose products are the columns of the weight.

    In an LSTM, and where a GRU's reset gate comes before the product, the biases of the recurrent product are in it.
    """
    hidden, gain = network.hidden_size, layer.gains.get("gain_ih")
    rows = layer.weight_ih.T if read is None else product(layer.weight_ih, read)
    if network.cell == "rnn":
        return rows if layer.gains else rows + (layer.bias_ih + layer.bias_hh)
    if network.cell == "lstm":
        return scaled(rows, gain) + (layer.bias_ih + layer.bias_hh)
    bias = layer.bias_ih + layer.bias_hh
    if network.cell == "gru_after":
        bias[2 * hidden :] = layer.bias_ih[2 * hidden :]
    return _by_rz_and_n(rows, gain, hidden) + bias


def input_table(network: Network) -> Array | None:
    """Return the lowest layer's :func:`input_arguments` of every symbol, (V, GH).

    There is none where the state changes the input, nor where it would be far larger than the model.
    """
    layer, symbols = network.layers[0], np.arange(network.vocab_size)
    if layer.mogrifier:
        return None
    if network.embedding is None and layer.norm is None and not layer.gains:
        return input_arguments(network, layer, None)
    if network.vocab_size * len(layer.weight_ih) > _LARGEST_TABLE:
        return None
    return input_arguments(network, layer, normalize(vectors(network, symbols), layer.norm))


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


def product(matrix: Array, vectors: Array) -> Array:
    """Return the products of a matrix (R, C) with vectors (N, C): (N, R), each as if it were alone."""
    result: Array = np.matmul(matrix, vectors[:, :, None])[:, :, 0]
    return result


def normalize(x: Array, norm: Norm | None) -> Array:
    """Bring rows (N, H) to mean 0 and variance 1, times the gain, plus the bias."""
    return x if norm is None else scaled(x, norm.gain) + norm.bias


def scaled(x: Array, gain: Array | None) -> Array:
    """As :func:`normalize`, without a bias; no gain leaves it."""
    if gain is None:
        return x
    centred = x - x.mean(-1, keepdims=True)
    result: Array = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + x.dtype.type(EPSILON)) * gain
    return result


def log_softmax(scores: Array) -> Array:
    """Log-probabilities (N, V) of scores (N, V), row by row."""
    shifted = scores - scores.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)); the exponential may overflow to infinity, which gives the 0 that is right."""
    return np.asarray(np.reciprocal(1 + np.exp(-a)))


def _updated(old: Array, new: Array, update: float) -> Array:
    return new if update == 1 else old + old.dtype.type(update) * (new - old)


def _lstm(layer: Layer, a: Array, h: Array, c: Array) -> tuple[Array, Array]:
    a = a + scaled(product(layer.weight_hh, h), layer.gains.get("gain_hh"))
    i, f, g, o = np.split(a, 4, axis=1)
    new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    shown = scaled(new_c, layer.gains["gain_c"]) + layer.gains["bias_c"] if layer.gains else new_c
    return sigmoid(o) * np.tanh(shown), new_c


def _gru(layer: Layer, a: Array, h: Array, *, before: bool) -> Array:
    hidden, gain = h.shape[1], layer.gains.get("gain_hh")
    gain_rz, gain_n = (None, None) if gain is None else (gain[: 2 * hidden], gain[2 * hidden :])
    of_h = product(layer.weight_hh[: 2 * hidden], h)
    r, z = np.split(sigmoid(a[:, : 2 * hidden] + scaled(of_h, gain_rz)), 2, axis=1)
    if before:
        of_n = scaled(product(layer.weight_hh[2 * hidden :], r * h), gain_n)
    else:
        of_n = r * (scaled(product(layer.weight_hh[2 * hidden :], h), gain_n) + layer.bias_hh[2 * hidden :])
    n = np.tanh(a[:, 2 * hidden :] + of_n)
    return n + z * (h - n)


def _rnn(layer: Layer, a: Array, h: Array) -> Array:
    a = a + product(layer.weight_hh, h)
    if layer.gains:
        a = scaled(a, layer.gains["gain"]) + (layer.bias_ih + layer.bias_hh)
    return np.tanh(a)


def _by_rz_and_n(rows: Array, gain: Array | None, hidden: int) -> Array:
    """Normalize r and z together, n alone."""
    if gain is None:
        return rows
    cut: Sequence[Array] = np.split(rows, [2 * hidden], axis=1)
    return np.concatenate([scaled(cut[0], gain[: 2 * hidden]), scaled(cut[1], gain[2 * hidden :])], axis=1)
