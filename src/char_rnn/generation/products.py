"""The matrix-vector products of one step of one stream, in NumPy: what the cells of the decoding engine are made of.

A layer's products with its input and with its own state are packed into one. In the lowest layer the input is a symbol:
its product is the same each time the symbol comes, hence a look-up.

Dimensions: V vocabulary, E embedding size, H hidden, G gates, R rows of a product (some gates' H rows each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Layer:
    """A layer's weights and where it stands.

    Attributes:
        weight_ih: (GH, E), or (GH, V) for one-hot vectors, or (GH, H) above the lowest layer.
        weight_hh: (GH, H).
        bias_ih: (GH,).
        bias_hh: (GH,).
        index: Which layer, from 0.
        embedding: Vectors (V, E) of the symbols; ``None`` for one-hot ones. The lowest layer alone uses them.
        hidden: h of all layers (L, H) in one block of memory: a layer's input and its own h are neighbours there.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array
    index: int
    embedding: Array | None
    hidden: Array

    @property
    def size(self) -> int:
        """H."""
        return len(self.h)

    @property
    def h(self) -> Array:
        """The layer's own hidden state (H,)."""
        own: Array = self.hidden[self.index]
        return own

    @property
    def input_and_h(self) -> Array:
        """What the layer's products multiply: its input and h (2H,), or in the lowest layer h alone (H,)."""
        return self.hidden[max(self.index - 1, 0) : self.index + 1].reshape(-1)

    def gates(self, order: tuple[int, ...], signs: tuple[int, ...]) -> Layer:
        """The same layer with some of its gates, in another order, each times its sign."""
        size = self.size
        rows = np.concatenate([np.arange(gate * size, (gate + 1) * size) for gate in order])
        sign = np.repeat(np.array(signs, self.hidden.dtype), size)
        weights = (self.weight_ih[rows] * sign[:, None], self.weight_hh[rows] * sign[:, None])
        biases = (self.bias_ih[rows] * sign, self.bias_hh[rows] * sign)
        return Layer(*weights, *biases, self.index, self.embedding, self.hidden)

    def product(self, operand: Array | None = None) -> Affine:
        """``W_ih x + b_ih + W_hh h + b_hh``, of `input_and_h` or of another ``operand`` of that shape."""
        operand = self.input_and_h if operand is None else operand
        bias = self.bias_ih + self.bias_hh
        if self.index == 0:
            return Affine(self.weight_hh, operand, InputRows(self.weight_ih, bias, self.embedding))
        return Affine(np.hstack([self.weight_ih, self.weight_hh]), operand, Always(bias))

    def input_product(self) -> Callable[[int], Array]:
        """``W_ih x + b_ih``, not to be written to."""
        if self.index == 0:
            return InputRows(self.weight_ih, self.bias_ih, self.embedding).__getitem__
        return Affine(self.weight_ih, self.hidden[self.index - 1], Always(self.bias_ih))

    def recurrent_product(self) -> Affine:
        """``W_hh h + b_hh``."""
        return Affine(self.weight_hh, self.h, Always(self.bias_hh))


class InputRows(dict[int, Array]):
    """``W_ih x + b`` (R,) of each symbol, made when it first comes: all at once could be far larger than the model."""

    def __init__(self, weight: Array, bias: Array, embedding: Array | None) -> None:
        super().__init__()
        self._weight, self._bias, self._embedding = weight, bias, embedding

    def __missing__(self, index: int) -> Array:
        embedding = self._embedding
        product = self._weight[:, index] if embedding is None else self._weight @ embedding[index]
        row = self[index] = product + self._bias
        return row


class Always(dict[int, Array]):
    """One row (R,) whatever the symbol."""

    def __init__(self, row: Array) -> None:
        super().__init__()
        self._row = row

    def __missing__(self, index: int) -> Array:
        return self._row


class Affine:
    """``matrix @ operand + rows[index]``, in a buffer that the next call overwrites.

    Args:
        matrix: (R, C). It is kept in column order, which OpenBLAS multiplies 10 to 20% faster at these sizes.
        operand: (C,), read anew at each call.
        rows: What is added, by symbol.
    """

    def __init__(self, matrix: Array, operand: Array, rows: Mapping[int, Array]) -> None:
        self._matrix = np.asfortranarray(matrix)
        self._operand, self._rows = operand, rows
        self.out = np.empty(len(matrix), matrix.dtype)

    def __call__(self, index: int) -> Array:
        """Computes the product with the row of a symbol; returns the buffer (R,), ``out``."""
        np.dot(self._matrix, self._operand, out=self.out)
        return np.add(self.out, self._rows[index], self.out)
