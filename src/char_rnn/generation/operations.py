"""What the kernels read (``char_rnn/kernels/decode.h``): operations, packed matrices, and the memory of some streams.

Dimensions: R rows, C columns.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import Array, Precision, quantize
from char_rnn.generation.state import States

ROWS = 32  # of a block of a packed matrix
_KINDS = {"float64": 0, "float32": 0, "bfloat16": 1, "int8": 2}
_OPERATORS = [
    "look_up",
    "product",
    "normalize",
    "sigmoid",
    "tanh",
    "gelu",
    "add",
    "multiply",
    "gate",
    "update",
    "lstm_cell",
    "lstm_output",
    "gru_output",
    "attend",
    "turn",
    "log_softmax",
]


class Buffer(ctypes.Structure):
    """``buffer`` of decode.h."""

    _fields_ = (("base", ctypes.c_void_p), ("stride", ctypes.c_int64), ("is_state", ctypes.c_int64))


class Operation(ctypes.Structure):
    """``operation`` of decode.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("operator", "width", "columns", "kind", "accumulates")),
        *((name, Buffer) for name in ("out", "in_", "other", "extra")),
        *((name, ctypes.c_void_p) for name in ("weights", "scales", "bias", "places")),
        ("number", ctypes.c_double),
    )


@dataclass(frozen=True)
class Place:
    """Rows of numbers: of a buffer of the work, by its name, or of a part of the states.

    Attributes:
        name: Which.
        start: Where in a row it begins.
    """

    name: str
    start: int = 0

    def __add__(self, numbers: int) -> Place:
        return Place(self.name, self.start + numbers)


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


class Bound:
    """Operations with the memory they work on, kept alive as long as they are."""

    def __init__(self, steps: list[dict[str, Any]], widths: dict[str, int], states: States, count: int) -> None:
        dtype = states.output.dtype
        self._buffers = {name: aligned((count, width), dtype) for name, width in widths.items()}
        parts = {**states.cells, "ring": states.ring}
        self._arrays = {name: (buffer, 0) for name, buffer in self._buffers.items()}
        self._arrays |= {name: (part.reshape(len(states), -1), 1) for name, part in parts.items()}
        self._kept = states, steps
        self._places = states.place.ctypes.data
        self.operations = (Operation * len(steps))(*map(self._operation, steps))
        self.scores: Array = self._buffers["scores"]

    def _operation(self, step: dict[str, Any]) -> Operation:
        matrix: Packed | None = step.get("matrix")
        scales = step.get("scales") if matrix is None else matrix.scales
        table = step.get("table")
        weights = table if matrix is None else matrix.numbers
        result = Operation(
            operator=_OPERATORS.index(step["operator"]),
            width=step["width"],
            columns=matrix.columns if matrix else step.get("columns", 0 if table is None else table.shape[1]),
            kind=matrix.kind if matrix else step.get("kind", 0),
            accumulates=bool(step.get("accumulates")),
            number=step.get("number", 0),
            places=self._places,
        )
        for name in ("out", "in_", "other", "extra"):
            setattr(result, name, self._buffer(step.get(name)))
        for name, array in (("weights", weights), ("scales", scales), ("bias", step.get("bias"))):
            setattr(result, name, self._address(array))
        return result

    def _buffer(self, place: Place | None) -> Buffer:
        if place is None:
            return Buffer(None, 0, 0)
        array, is_state = self._arrays[place.name]
        return Buffer(array.ctypes.data + place.start * array.itemsize, array.strides[0] // array.itemsize, is_state)

    def _address(self, array: npt.NDArray[Any] | None) -> int | None:
        if array is None:
            return None
        address: int = array.ctypes.data
        return address


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialized array that begins on a line of the cache, 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
