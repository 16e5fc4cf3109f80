"""The recurrent cells, one step of one stream, in NumPy; each advances its layer's state in place.

Their equations are those of :mod:`char_rnn.ops`. A sigmoid gate's weights are packed with their sign changed: then
``sigmoid(a) = 1 / (1 + exp(-a))`` needs no negation. `exp` may overflow to infinity, which gives the 0 that is right.

Dimensions: H hidden.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from char_rnn.generation.products import Array, Layer


class Cell(Protocol):
    """One layer."""

    def step(self, index: int) -> None:
        """Advances the layer's state by one symbol, which the lowest layer reads; the others read the one below."""


class LSTMCell:
    """``i, f, o = sigmoid(...)``, ``g = tanh(...)``, ``c' = f c + i g``, ``h' = o tanh(c')``.

    Args:
        layer: Its weights stack i, f, g, o.
        c: The cell state (H,).
    """

    def __init__(self, layer: Layer, c: Array) -> None:
        self._gates = layer.gates((0, 1, 3, 2), (-1, -1, -1, 1)).product()
        out = self._gates.out
        self._ifo, self._g = out[: 3 * layer.size], out[3 * layer.size :]
        self._i, self._f, self._o = self._ifo.reshape(3, -1)
        self._h, self._c = layer.h, c
        self._one = np.ones((), out.dtype)

    def step(self, index: int) -> None:
        """See `Cell`."""
        i, f, o, g, c = self._i, self._f, self._o, self._g, self._c
        self._gates(index)
        _negative_sigmoid(self._ifo, self._one)
        np.tanh(g, g)
        np.multiply(f, c, c)
        np.multiply(i, g, i)
        np.add(c, i, c)
        np.tanh(c, g)
        np.multiply(o, g, self._h)


class GRUBeforeCell:
    """``r, z = sigmoid(...)``, ``n = tanh(W_in x + b_in + W_hn (r h) + b_hn)``, ``h' = n + z (h - n)``.

    Args:
        layer: Its weights stack r, z, n.
    """

    def __init__(self, layer: Layer) -> None:
        self._gates = layer.gates((0, 1), (-1, -1)).product()
        self._one = np.ones((), self._gates.out.dtype)
        self._r, self._z = self._gates.out.reshape(2, -1)
        self._input_and_h = layer.input_and_h
        self._operand = np.empty_like(self._input_and_h)
        self._reset_h = self._operand[-layer.size :]
        self._candidate = layer.gates((2,), (1,)).product(self._operand)
        self._h = layer.h

    def step(self, index: int) -> None:
        """See `Cell`."""
        self._gates(index)
        _negative_sigmoid(self._gates.out, self._one)
        np.copyto(self._operand, self._input_and_h)
        np.multiply(self._r, self._h, self._reset_h)
        _blend(self._candidate(index), self._z, self._h)


class GRUAfterCell:
    """``r, z = sigmoid(...)``, ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``, ``h' = n + z (h - n)``.

    Args:
        layer: Its weights stack r, z, n.
    """

    def __init__(self, layer: Layer) -> None:
        self._gates = layer.gates((0, 1), (-1, -1)).product()
        self._one = np.ones((), self._gates.out.dtype)
        self._r, self._z = self._gates.out.reshape(2, -1)
        candidate = layer.gates((2,), (1,))
        self._input, self._recurrent = candidate.input_product(), candidate.recurrent_product()
        self._h = layer.h

    def step(self, index: int) -> None:
        """See `Cell`."""
        self._gates(index)
        _negative_sigmoid(self._gates.out, self._one)
        n = self._recurrent(index)
        np.multiply(self._r, n, n)
        np.add(n, self._input(index), n)
        _blend(n, self._z, self._h)


class RNNCell:
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``."""

    def __init__(self, layer: Layer) -> None:
        self._sum = layer.product()
        self._h = layer.h

    def step(self, index: int) -> None:
        """See `Cell`."""
        np.tanh(self._sum(index), self._h)


def _negative_sigmoid(a: Array, one: Array) -> None:
    """Turns a into sigmoid(-a), in place; ``one`` is 1 in an array, which NumPy need not convert each time."""
    np.exp(a, a)
    np.add(a, one, a)
    np.reciprocal(a, a)


def _blend(n: Array, z: Array, h: Array) -> None:
    """Turns the argument of the candidate into it, and h into ``n + z (h - n)``, in place."""
    np.tanh(n, n)
    np.subtract(h, n, h)
    np.multiply(z, h, h)
    np.add(h, n, h)
