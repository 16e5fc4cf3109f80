"""The structures of elementwise.h, which programs for training and for decoding share, and those of train.h."""

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


def declared(library: Any) -> Any:
    """Return a library, the functions of train.h declared."""
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    library.train_run.argtypes = pointer, integer, pointer, pointer
    library.elementwise_prepare.argtypes, library.elementwise_prepare.restype = (pointer, integer, integer), None
    library.train_packed_size.argtypes = integer, integer, integer
    library.train_packed_size.restype = integer
    library.train_pack.argtypes = pointer, integer, integer, integer, integer, integer, pointer
    of_rows, of_table = (pointer, integer, pointer, integer), (pointer, integer, integer)
    library.train_sum_by_symbol.argtypes = *of_rows, *of_table, integer, pointer
    return library


def packed(instructions: Sequence[Instruction]) -> Any:
    """Return instructions as an array for the kernels."""
    return (InstructionStructure * len(instructions))(*map(_packed, instructions))


def _packed(instruction: Instruction) -> Any:
    operands = (*instruction.operands, 0, 0, 0)[:3]
    return InstructionStructure(
        Code[instruction.code], instruction.to, *operands, *instruction.place, 0, instruction.number
    )
