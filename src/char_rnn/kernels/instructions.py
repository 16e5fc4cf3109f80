"""Instructions on registers, for the blocks that a list of them is to store.

The structures of elementwise.h, which programs for training and for decoding share, and those of train.h.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Any, NamedTuple, Protocol

from char_rnn.cells import Value

MOST_REGISTERS = 32
"""As in elementwise.h."""

Atom = tuple[Value, int]
"""A block of a value that is neither cut out of another nor put together of others."""

Plan = tuple[str, list[Atom], float]
"""How a block is made: a code, the blocks that it takes, and a number."""


class BufferRef(NamedTuple):
    """Where a value stands: from a unit on in the rows of an array."""

    array: int
    unit: int = 0

    def after(self, units: int) -> BufferRef:
        """Return the place so many units on."""
        return BufferRef(self.array, self.unit + units)


class Instruction(NamedTuple):
    """An ``instruction`` of elementwise.h, by the name of its code."""

    code: str
    to: int = 0
    operands: tuple[int, ...] = ()
    place: BufferRef = BufferRef(0)
    number: float = 0.0


class LoweringError(ValueError):
    """The kernels cannot compute the values."""


class TooManyValuesError(LoweringError):
    """More values are needed at a time than there are registers."""


class Blocks(Protocol):
    """What is known of the blocks."""

    def width(self, value: Value) -> int:
        """Return how wide a value's blocks are."""

    def plan(self, atom: Atom, stage: int) -> Plan:
        """Return how a stage makes a block."""

    def in_memory(self, atom: Atom, stage: int) -> BufferRef | None:
        """Return where a stage can load a block from; None if it is to be computed."""


class Registers:
    """Writes the instructions of a list, each block computed once, when it is first needed."""

    def __init__(self, blocks: Blocks, stage: int) -> None:
        self._blocks, self._stage = blocks, stage
        self._plans: dict[Atom, Plan] = {}
        self._left: Counter[Atom] = Counter()
        self._registers: dict[Atom, int] = {}
        self._free = list(range(MOST_REGISTERS))[::-1]
        self._written: list[Instruction] = []

    def write(self, stores: Sequence[tuple[Atom, BufferRef]], sums: Sequence[tuple[Atom, int]]) -> list[Instruction]:
        """Return the instructions that store blocks, and add up their rows."""
        for atom, _ in (*stores, *sums):
            self._count(atom)
        for atom, place in stores:
            register = self._compute(atom)
            self._load_before_storing(place, self._blocks.width(atom[0]))
            self._written.append(Instruction("STORE", operands=(register,), place=place))
            self._release([atom])
        for atom, unit in sums:
            self._written.append(Instruction("SUM_ROWS", operands=(self._compute(atom),), place=BufferRef(0, unit)))
            self._release([atom])
        return self._written

    def _load_before_storing(self, to: BufferRef, width: int) -> None:
        """Load what is still needed of the numbers that a store overwrites."""
        for atom, (code, _, _) in self._plans.items():
            if code == "LOAD" and self._left[atom] and atom not in self._registers:
                place = self._blocks.in_memory(atom, self._stage)
                if place is not None and place.array == to.array and abs(place.unit - to.unit) < width:
                    self._compute(atom)

    def _count(self, atom: Atom) -> None:
        self._left[atom] += 1
        if atom not in self._plans:
            self._plans[atom] = self._blocks.plan(atom, self._stage)
            for operand in self._plans[atom][1]:
                self._count(operand)

    def _compute(self, atom: Atom) -> int:
        if atom not in self._registers:
            code, operands, number = self._plans[atom]
            read = tuple(map(self._compute, operands))
            self._release(operands)
            if not self._free:
                raise TooManyValuesError(f"a step needs more than {MOST_REGISTERS} values at a time")
            self._registers[atom] = self._free.pop()
            place = self._blocks.in_memory(atom, self._stage) if code == "LOAD" else None
            self._written.append(Instruction(code, self._registers[atom], read, place or BufferRef(0), number))
        return self._registers[atom]

    def _release(self, atoms: Sequence[Atom]) -> None:
        for atom in atoms:
            self._left[atom] -= 1
            if not self._left[atom]:
                self._free.append(self._registers.pop(atom))


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
