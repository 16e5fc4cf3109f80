"""What an ONNX graph is put together from.

Dimensions: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from char_rnn.cells import EPSILON
from char_rnn.generation.network import Array, Norm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import NodeProto, TensorProto


class Nodes:
    """A graph's nodes so far, and the constants that it shares with the graphs inside it.

    Methods add nodes and return the name of what these compute; arguments are names.

    Attributes:
        nodes: In the order they are to be computed.
        constants: Of the outermost graph.
    """

    def __init__(self, outer: Nodes | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = [] if outer is None else outer.constants
        self._numbers: Iterator[int] = count() if outer is None else outer._numbers
        self._made: dict[int, tuple[npt.ArrayLike, str]] = {} if outer is None else outer._made
        self._turned: dict[str, str] = {} if outer is None else outer._turned
        self._outermost: Nodes = self if outer is None else outer._outermost

    def name(self, of: str) -> str:
        """Return a name that nothing in the graph has yet."""
        return f"{of}_{next(self._numbers)}"

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.add_many(kind, inputs, 1, **attributes)[0]

    def add_many(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node with any number of outputs."""
        from onnx import helper

        names = [self.name(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def rename(self, name: str, new: str) -> None:
        """Give a value the name of one of the graph's outputs."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [name], [new]))

    def constant(self, values: npt.ArrayLike) -> str:
        """Return the name of numbers, which become float32 or int64; the same object is kept once."""
        from onnx import numpy_helper

        if id(values) not in self._made:
            array, name = np.asarray(values), self.name("constant")
            kind = np.float32 if array.dtype.kind == "f" else np.int64
            self.constants.append(numpy_helper.from_array(np.asarray(array, kind, order="C"), name))
            self._made[id(values)] = (values, name)  # holds the object, so that no other gets its identity
        return self._made[id(values)][1]

    def product(self, matrix: Array, vectors: str) -> str:
        """Multiply a matrix (R, C) with vectors (..., C): (..., R)."""
        return self.add("MatMul", vectors, self._transposed(self.constant(matrix)))

    def plus(self, vectors: str, bias: Array) -> str:
        """Add a bias (C,) to vectors (..., C)."""
        return self.add("Add", vectors, self.constant(bias))

    def scaled(self, vectors: str, gain: Array | None) -> str:
        """Bring vectors (..., C) to mean 0 and variance 1, times the gain; no gain leaves them."""
        if gain is None:
            return vectors
        return self.add("LayerNormalization", vectors, self.constant(gain), axis=-1, epsilon=EPSILON)

    def normalized(self, vectors: str, norm: Norm | None) -> str:
        """As :meth:`scaled`, plus the bias."""
        return vectors if norm is None else self.plus(self.scaled(vectors, norm.gain), norm.bias)

    def cut(self, value: str, parts: int, axis: int) -> list[str]:
        """Cut a value into equal parts."""
        return [value] if parts == 1 else self.add_many("Split", [value], parts, axis=axis)

    def filled(self, value: str, width: int, like: str | None) -> str:
        """Repeat one number or a vector (width,) as often as there are vectors in `like`; none for one vector."""
        shape = self.constant([width])
        if like is not None:
            shape = self.add("Concat", self.add("Shape", like, end=-1), shape, axis=0)
        return self.add("Expand", value, shape)

    def _transposed(self, name: str) -> str:
        """Transpose a constant, once and outside of every loop."""
        if name not in self._turned:
            self._turned[name] = self._outermost.add("Transpose", name, perm=[1, 0])
        return self._turned[name]
