"""Instructions on registers, for the blocks that a list of them is to store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from char_rnn.cells import Value

MOST_REGISTERS = 32
"""As in elementwise.h."""

Atom = tuple[Value, int]
"""A block of a value that is neither cut out of another nor put together of others."""

Plan = tuple[str, list[Atom], float]
"""How a block is made: a code, the blocks that it takes, and a number."""


class Place(NamedTuple):
    """Where a value stands: from a unit on in the rows of an array."""

    array: int
    unit: int = 0

    def after(self, units: int) -> Place:
        """Return the place so many units on."""
        return Place(self.array, self.unit + units)


class Instruction(NamedTuple):
    """An ``instruction`` of elementwise.h, by the name of its code."""

    code: str
    to: int = 0
    operands: tuple[int, ...] = ()
    place: Place = Place(0)
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

    def in_memory(self, atom: Atom, stage: int) -> Place | None:
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

    def write(self, stores: Sequence[tuple[Atom, Place]], sums: Sequence[tuple[Atom, int]]) -> list[Instruction]:
        """Return the instructions that store blocks, and add up their rows."""
        for atom, _ in (*stores, *sums):
            self._count(atom)
        for atom, place in stores:
            register = self._compute(atom)
            self._load_before_storing(place, self._blocks.width(atom[0]))
            self._written.append(Instruction("STORE", operands=(register,), place=place))
            self._release([atom])
        for atom, unit in sums:
            self._written.append(Instruction("SUM_ROWS", operands=(self._compute(atom),), place=Place(0, unit)))
            self._release([atom])
        return self._written

    def _load_before_storing(self, to: Place, width: int) -> None:
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
            self._written.append(Instruction(code, self._registers[atom], read, place or Place(0), number))
        return self._registers[atom]

    def _release(self, atoms: Sequence[Atom]) -> None:
        for atom in atoms:
            self._left[atom] -= 1
            if not self._left[atom]:
                self._free.append(self._registers.pop(atom))
