"""The structures of elementwise.h, which programs for training and for decoding share, and those of train.h."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Any, NamedTuple


class BufferRef(NamedTuple):
    """Reference to a value in memory: the rows of an array, from a unit on."""

    array: int
    unit: int = 0

    def after(self, units: int) -> BufferRef:
        """Return the reference so many units further on."""
        return BufferRef(self.array, self.unit + units)


class Code(IntEnum):
    """Codes of instructions, in the order of elementwise.h (where RELU_SLOPE is STEP)."""

    LOAD = 0
    STORE = auto()
    SUM_ROWS = auto()
    NUMBER = auto()
    SCALE = auto()
    ADD = auto()
    SUBTRACT = auto()
    MULTIPLY = auto()
    MULTIPLY_ADD = auto()
    SIGMOID = auto()
    TANH = auto()
    RELU = auto()
    EXP = auto()
    SIGMOID_SLOPE = auto()
    TANH_SLOPE = auto()
    RELU_SLOPE = auto()


class Instruction(NamedTuple):
    """An ``instruction`` of elementwise.h, with the name of its code."""

    code: str
    to: int = 0
    operands: tuple[int, ...] = ()
    ref: BufferRef = BufferRef(0)
    number: float = 0.0


def structure(name: str, fields: str, default: Any = ctypes.c_int64, **types: Any) -> Any:
    """Return a structure whose fields have the given types, or the default."""
    listed = [(each, types.get(each, default)) for each in fields.split()]
    return type(name, (ctypes.Structure,), {"_fields_": listed})


ArrayStructure = structure("ArrayStructure", "base step row rows rows_step", base=ctypes.c_void_p, rows=ctypes.c_void_p)
InstructionStructure = structure(
    "InstructionStructure", "code to a b c array unit in_place number", ctypes.c_int32, number=ctypes.c_double
)
UnitsStructure = structure("UnitsStructure", "array unit")
OperationStructure = structure(
    "OperationStructure",
    "operator width columns accumulates is_bfloat16 weights out in rstd normalized instructions length",
    weights=ctypes.c_void_p,
    instructions=ctypes.c_void_p,
    **dict.fromkeys(("out", "in", "rstd", "normalized"), UnitsStructure),
)
ProgramStructure = structure(
    "ProgramStructure",
    "time batch is_backward operations length arrays sums sums_width",
    operations=ctypes.c_void_p,
    arrays=ctypes.c_void_p,
    sums=ctypes.c_void_p,
)


def packed(instructions: Sequence[Instruction]) -> Any:
    """Return instructions as an array for the kernels."""
    array = (InstructionStructure * len(instructions))()
    for number, (code, to, operands, ref, value) in enumerate(instructions):
        array[number] = InstructionStructure(Code[code], to, *(*operands, 0, 0, 0)[:3], *ref, 0, value)
    return array
