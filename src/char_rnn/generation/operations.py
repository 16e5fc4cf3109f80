"""What the kernels read (``char_rnn/kernels/decode.h``): operations, packed matrices, and the memory of some streams.

Dimensions: N streams, V vocabulary, R rows, C columns.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import Array, Precision, quantize
from char_rnn.generation.state import States
from char_rnn.kernels.instructions import ArrayStructure, BufferRef, structure

ROWS = 32  # of a block of a packed matrix
_KINDS = {"float64": 0, "float32": 0, "bfloat16": 1, "int8": 2}
OPERATORS = ("one_hot", "product", "normalize", "elementwise", "gelu", "attend", "turn", "log_softmax")

Units = structure("Units", "array unit")
Operation = structure(
    "Operation",
    "operator width columns kind has_start out in_ other extra weights scales number instructions length",
    number=ctypes.c_double,
    **dict.fromkeys(("out", "in_", "other", "extra"), Units),
    **dict.fromkeys(("weights", "scales", "instructions"), ctypes.c_void_p),
)
Work = structure(
    "Work",
    "operations length count time symbols rows arrays states tables places",
    **dict.fromkeys(("operations", "symbols", "rows", "arrays", "places"), ctypes.c_void_p),
)


class Packed:
    """A matrix (R, C) in blocks of ROWS rows, each block column by column, on a line of the cache."""

    def __init__(self, matrix: Array, precision: Precision) -> None:
        self.rows, self.columns = matrix.shape
        self.kind = _KINDS[precision]
        kept, self.scales = quantize(matrix, precision)
        blocks = -(-self.rows // ROWS)
        self.numbers = aligned((blocks, self.columns, ROWS), kept.dtype)
        self.numbers[...] = 0
        for block in range(blocks):
            rows = kept[block * ROWS : (block + 1) * ROWS]
            self.numbers[block, :, : len(rows)] = rows.T


class Arrays:
    """The arrays that operations refer to by their numbers: the states, tables by symbol, vectors, and buffers.

    Args:
        states: How many arrays the states are.
        tables: Tables (V, width); they are copied.
    """

    def __init__(self, states: int, tables: Sequence[Array]) -> None:
        self.states = states
        self.tables = [_copied(table) for table in tables]
        self._others: list[Array | int] = []  # vectors, and widths of buffers
        self._buffers: dict[str, int] = {}

    def table(self, number: int) -> BufferRef:
        """Return where a table's rows are."""
        return BufferRef(self.states + number)

    def vector(self, array: Array) -> BufferRef:
        """Return where a copy of a vector is, which is the same for all streams."""
        self._others.append(_copied(array))
        return self._last()

    def buffer(self, name: str, width: int) -> BufferRef:
        """Return where the rows of a buffer are, which is as wide as the widest that is asked for by its name."""
        if name not in self._buffers:
            self._others.append(0)
            self._buffers[name] = len(self._others) - 1
        number = self._buffers[name]
        self._others[number] = max(width, self._others[number])
        return BufferRef(self.states + len(self.tables) + number)

    def _last(self) -> BufferRef:
        return BufferRef(self.states + len(self.tables) + len(self._others) - 1)

    def bind(self, states: States) -> tuple[Any, list[Array]]:
        """Return the arrays for the kernels, with buffers for some streams, and what they refer to."""
        count, dtype = len(states), states.output.dtype
        buffers = [aligned((count, other), dtype) if isinstance(other, int) else other for other in self._others]
        arrays = [part.reshape(count, -1) for part in (*states.cells.values(), states.ring)]
        arrays += [*self.tables, *buffers]
        return (ArrayStructure * len(arrays))(*map(_structure, arrays)), buffers


class Bound:
    """What the operations work on for some streams."""

    def __init__(self, operations: Any, arrays: Arrays, scores: BufferRef, states: States) -> None:
        self._operations = operations
        self._arrays, buffers = arrays.bind(states)
        self._kept = states, arrays.tables, buffers
        self._counts = arrays.states, len(arrays.tables)
        self._places = states.place.ctypes.data
        self.scores: Array = buffers[scores.array - sum(self._counts)]

    def work(self, length: int, count: int, time: int, symbols: int, rows: int) -> Any:
        """Return a :class:`Work`: the first `length` operations for `count` streams.

        Args:
            length: Of the operations.
            count: N.
            time: Steps.
            symbols: Address of the symbols, (time, N).
            rows: Address of the streams' numbers, (N,).
        """
        operations, arrays = ctypes.addressof(self._operations), ctypes.addressof(self._arrays)
        return Work(operations, length, count, time, symbols, rows, arrays, *self._counts, self._places)


def _structure(array: Array) -> Any:
    row = array.strides[0] // array.itemsize if array.ndim == 2 else 0
    return ArrayStructure(array.ctypes.data, 0, row, None, 0)


def _copied(array: Array) -> Array:
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialized array that begins on a line of the cache, 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
