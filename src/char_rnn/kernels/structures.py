"""The structures of elementwise.h, which programs for training and for decoding share."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Any

from char_rnn.kernels.registers import Instruction


class Code(IntEnum):
    """The codes of instructions."""

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
    STEP = auto()


def structure(name: str, fields: str, default: Any = ctypes.c_int64, **types: Any) -> Any:
    """Return a structure whose fields are of the types given, else of the default."""
    listed = [(each, types.get(each, default)) for each in fields.split()]
    return type(name, (ctypes.Structure,), {"_fields_": listed})


ArrayStructure = structure("ArrayStructure", "base step row rows rows_step", base=ctypes.c_void_p, rows=ctypes.c_void_p)
InstructionStructure = structure(
    "InstructionStructure", "code to a b c array unit in_place number", ctypes.c_int32, number=ctypes.c_double
)


def packed(instructions: Sequence[Instruction]) -> Any:
    """Return instructions as an array for the kernels."""
    return (InstructionStructure * len(instructions))(*map(_packed, instructions))


def _packed(instruction: Instruction) -> Any:
    operands = (*instruction.operands, 0, 0, 0)[:3]
    return InstructionStructure(
        Code[instruction.code], instruction.to, *operands, *instruction.place, 0, instruction.number
    )
