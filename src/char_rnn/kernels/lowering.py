"""Turns values of the cells' language into the operations that the kernels run on rows of numbers.

A row operation (a product or a normalization) reads and writes whole rows in memory. Between two of them is a list of
instructions on registers, which hold blocks of H numbers: a wider value is several blocks, so slicing and joining
values cost nothing. A stage is one list of instructions and the row operations after it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from char_rnn.cells import Value
from char_rnn.kernels import BufferRef, Instruction

ROW_OPERATIONS = ("product", "product_backward", "normalize", "normalize_backward")

MOST_REGISTERS = 32
"""As in elementwise.h."""

Atom = tuple[Value, int]
"""A block of a value that is neither a slice nor a join."""

Plan = tuple[str, list[Atom], float]
"""How to compute a block: a code, its operands, and a number."""


class LoweringError(ValueError):
    """The kernels cannot compute the values."""


class TooManyValuesError(LoweringError):
    """More values are needed at a time than there are registers."""


class RowOperation(NamedTuple):
    """The operation of `value` on the numbers at `read`.

    `normalized` is the result of a normalization, for its derivative; `start` the initial value of a product's sums.
    """

    value: Value
    out: BufferRef
    read: BufferRef
    normalized: BufferRef | None
    start: BufferRef | None = None


class Elementwise(NamedTuple):
    """Instructions on blocks of so many numbers."""

    width: int
    instructions: list[Instruction]


class Lowering:
    """The operations that compute values; see :meth:`operations`.

    Args:
        values: Values to compute, each after its inputs.
        given: Values in memory.
        wanted: Where to store values. This may overwrite a given value, which is read before.
        sums: Values whose rows to sum, and the first unit of each sum.
        hidden: H.
        scratch: Allocates memory for so many numbers.

    Raises:
        LoweringError: A value is not cut at multiples of H.
    """

    def __init__(
        self,
        values: Sequence[Value],
        given: Mapping[Value, BufferRef],
        wanted: Sequence[tuple[Value, BufferRef]],
        sums: Sequence[tuple[Value, int]],
        hidden: int,
        scratch: Callable[[int], BufferRef],
    ) -> None:
        self.values, self.given, self.wanted, self.hidden, self.scratch = values, given, wanted, hidden, scratch
        self.rows = [value for value in values if value.op in ROW_OPERATIONS]
        self.made: dict[Value, BufferRef] = {}  # results of row operations
        self.saved: dict[Atom, BufferRef] = {}  # stored by one list of instructions and loaded by later ones
        self.stages: dict[Atom, int] = {}
        self.stores: dict[int, list[tuple[Atom, BufferRef]]] = defaultdict(list)
        self.sums: dict[int, list[tuple[Atom, int]]] = defaultdict(list)
        self.read: dict[Value, BufferRef] = {}  # inputs of row operations
        self.uses: Counter[Atom] = Counter()
        self._allocate()
        for value, start in sums:
            for block, atom in enumerate(self.atoms(value)):
                self.sums[self.stage(atom)].append((atom, start + block * self.width(value)))
        self._save_between_stages()

    def operations(self) -> Iterator[RowOperation | Elementwise]:
        """Yield the operations in order; raise TooManyValuesError if there are not enough registers."""
        last = max([*self.stores, *self.sums, *map(self.row_stage, self.rows)], default=0)
        for stage in range(last + 1):
            for width in dict.fromkeys(self.width(atom[0]) for atom, _ in (*self.stores[stage], *self.sums[stage])):
                stores = [(atom, ref) for atom, ref in self.stores[stage] if self.width(atom[0]) == width]
                sums = [(atom, unit) for atom, unit in self.sums[stage] if self.width(atom[0]) == width]
                yield Elementwise(width, _Registers(self, stage).write(stores, sums))
            for value in self.rows:
                if self.row_stage(value) == stage:
                    refs = [self.memory(each) or self.read[each] for each in value.inputs]
                    read, other = refs[0], refs[1] if len(refs) > 1 else None
                    normalized, start = (None, other) if _has_start(value) else (other, None)
                    yield RowOperation(value, self.made[value], read, normalized, start)

    def width(self, value: Value) -> int:
        """Return the width of a value's blocks."""
        return value.width if value.width % self.hidden else self.hidden

    def atoms(self, value: Value) -> list[Atom]:
        """Return a value's blocks."""
        return [self.atom(value, block) for block in range(value.width // self.width(value))]

    def atom(self, value: Value, block: int) -> Atom:
        """Return a block as one of a value that is neither a slice nor a join."""
        if value in self.given:
            return value, block
        width = self.width(value)
        if value.op == "slice":
            whole = value.inputs[0]
            if value.start % width or self.width(whole) != width:
                raise LoweringError(f"a value {whole.width} wide is cut at {value.start}, not a multiple of {width}")
            return self.atom(whole, block + value.start // width)
        if value.op == "join":
            for part in value.inputs:
                if self.width(part) != width:
                    raise LoweringError(f"values {width} and {part.width} wide are joined")
                if block < part.width // width:
                    return self.atom(part, block)
                block -= part.width // width
        return value, block

    def memory(self, value: Value) -> BufferRef | None:
        """Return where a whole value is in memory; None if it is not."""
        ref = self.given.get(value) or self.made.get(value)
        if ref is None and value.op == "slice":
            whole = self.memory(value.inputs[0])
            return None if whole is None else whole.after(value.start)
        return ref

    def in_memory(self, atom: Atom, stage: int) -> BufferRef | None:
        """Return where a stage can load a block from; None if it must compute it."""
        value, block = atom
        ref = self.given.get(value) or self.made.get(value)
        if ref is not None:
            return ref.after(block * self.width(value))
        return self.saved.get(atom) if self.stage(atom) < stage else None

    def operands(self, atom: Atom) -> list[Atom]:
        """Return the operands of a block; none for a given one and a number."""
        value, block = atom
        if value in self.given or value.op in ROW_OPERATIONS:
            return []
        return [self.atom(each, block) for each in value.inputs]

    def stage(self, atom: Atom) -> int:
        """Return the first stage whose instructions can compute or load a block."""
        if atom not in self.stages:
            value = atom[0]
            if value not in self.given and value.op in ROW_OPERATIONS:
                self.stages[atom] = self.row_stage(value) + 1
            else:
                self.stages[atom] = max(map(self.stage, self.operands(atom)), default=0)
        return self.stages[atom]

    def row_stage(self, value: Value) -> int:
        """Return the stage that a row operation ends."""
        return max(map(self._last_stage, value.inputs))

    def _last_stage(self, value: Value) -> int:
        return max(map(self.stage, self.atoms(value)))

    def _allocate(self) -> None:
        """Decide where every value is in memory, and in which stage it is stored."""
        last_read = self._last_reads()
        for value in self.rows:
            free = (
                ref
                for each, ref in self.wanted
                if each is value and last_read.get(ref.array, -1) <= self.row_stage(value)
            )
            self.made[value] = next(free, None) or self.scratch(value.width)
        for read in (each for value in self.rows for each in value.inputs):
            if self.memory(read) is None and read not in self.read:
                refs = [ref for each, ref in self.wanted if each is read and ref.array not in last_read]
                self.read[read] = refs[0] if refs else self.scratch(read.width)
                self._store(read, self.read[read], 0)
        for value, ref in self.wanted:
            if ref not in (self.made.get(value), self.read.get(value), self.given.get(value)):
                self._store(value, ref, last_read.get(ref.array, 0))

    def _store(self, value: Value, ref: BufferRef, not_before: int) -> None:
        for block, atom in enumerate(self.atoms(value)):
            to = ref.after(block * self.width(value))
            self.stores[max(self.stage(atom), not_before)].append((atom, to))
            if not not_before:
                self.saved.setdefault(atom, to)

    def _last_reads(self) -> dict[int, int]:
        """Return the last stage that reads each array that is written to; of a row operation, the stage after it."""
        written = {ref.array for _, ref in self.wanted}
        found: dict[int, int] = {}
        for value in self.values:
            for atom in (atom for read in value.inputs for atom in self.atoms(read)):
                ref = self.given.get(atom[0])
                if ref is not None and ref.array in written:
                    stage = self.row_stage(value) + 1 if value.op in ROW_OPERATIONS else self._last_stage(value)
                    found[ref.array] = max(found.get(ref.array, 0), stage)
        blocks = [each for value, _ in self.wanted for each, _ in self.atoms(value)]
        moved = {self.given[each].array for each in blocks if each in self.given} & written
        if not moved:
            return found
        # Two values may swap places: then both are stored in one stage, after the last one that reads either.
        return dict.fromkeys([*found, *moved], max(found.values(), default=0))

    def _save_between_stages(self) -> None:
        """Store blocks that later lists of instructions need of an earlier one; count the uses of all blocks."""
        users: dict[Atom, list[int]] = defaultdict(list)
        for value in self.values:
            if value.op in ("slice", "join", *ROW_OPERATIONS):
                continue
            for block in range(value.width // self.width(value)):
                for operand in self.operands((value, block)):
                    users[operand].append(self.stage((value, block)))
        for stage in {*self.stores, *self.sums}:
            for atom, _ in (*self.stores[stage], *self.sums[stage]):
                users[atom].append(stage)
        for atom, stages in users.items():
            self.uses[atom] = len(stages)
            value = atom[0]
            computed = value not in self.given and value not in self.made and value.op != "number"
            if computed and max(stages) > self.stage(atom) and atom not in self.saved:
                self.saved[atom] = self.scratch(self.width(value))
                self.stores[self.stage(atom)].append((atom, self.saved[atom]))

    def plan(self, atom: Atom, stage: int) -> Plan:
        """Return how a stage computes or loads a block."""
        value = atom[0]
        if self.in_memory(atom, stage) is not None:
            return "LOAD", [], 0.0
        operands = self.operands(atom)
        numbers = [each.number for each, _ in operands if each.op == "number"]
        match value.op:
            case "number":
                return "NUMBER", [], value.number
            case "multiply" if len(numbers) == 1:
                return "SCALE", [each for each in operands if each[0].op != "number"], numbers[0]
            case "subtract" if operands[0][0].op == "number" and operands[0][0].number == 0:
                return "SCALE", operands[1:], -1.0
            case "add":
                for product, other in (operands[::-1], operands):
                    if self._can_fuse(product, stage):
                        return "MULTIPLY_ADD", [*self.operands(product), other], 0.0
        return value.op.upper(), operands, 0.0

    def _can_fuse(self, atom: Atom, stage: int) -> bool:
        """Whether a sum can compute a block, a product of two, with one rounding.

        Not if a factor is a sum, as in 1.0, so that the predictions of a GRU stay the same to the bit.
        """
        if atom[0].op != "multiply" or self.uses[atom] != 1 or self.in_memory(atom, stage) is not None:
            return False
        return not any(value.op == "add" or _has_start(value) for value, _ in self.operands(atom))


def _has_start(value: Value) -> bool:
    return value.op == "product" and len(value.inputs) > 1


class _Registers:
    """Writes the instructions of a stage, computing each block once, when it is first needed."""

    def __init__(self, lowering: Lowering, stage: int) -> None:
        self._lowering, self._stage = lowering, stage
        self._plans: dict[Atom, Plan] = {}
        self._left: Counter[Atom] = Counter()
        self._registers: dict[Atom, int] = {}
        self._free = list(range(MOST_REGISTERS))[::-1]
        self._written: list[Instruction] = []

    def write(self, stores: Sequence[tuple[Atom, BufferRef]], sums: Sequence[tuple[Atom, int]]) -> list[Instruction]:
        """Return the instructions that store blocks and sum their rows."""
        for atom, _ in (*stores, *sums):
            self._count(atom)
        for atom, ref in stores:
            register = self._compute(atom)
            self._load_before_storing(ref, self._lowering.width(atom[0]))
            self._written.append(Instruction("STORE", operands=(register,), ref=ref))
            self._release([atom])
        for atom, unit in sums:
            self._written.append(Instruction("SUM_ROWS", operands=(self._compute(atom),), ref=BufferRef(0, unit)))
            self._release([atom])
        return self._written

    def _load_before_storing(self, to: BufferRef, width: int) -> None:
        """Load blocks that are still needed before a store overwrites them."""
        for atom, (code, _, _) in self._plans.items():
            if code == "LOAD" and self._left[atom] and atom not in self._registers:
                ref = self._lowering.in_memory(atom, self._stage)
                if ref is not None and ref.array == to.array and abs(ref.unit - to.unit) < width:
                    self._compute(atom)

    def _count(self, atom: Atom) -> None:
        self._left[atom] += 1
        if atom not in self._plans:
            self._plans[atom] = self._lowering.plan(atom, self._stage)
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
            ref = self._lowering.in_memory(atom, self._stage) if code == "LOAD" else None
            self._written.append(Instruction(code, self._registers[atom], read, ref or BufferRef(0), number))
        return self._registers[atom]

    def _release(self, atoms: Sequence[Atom]) -> None:
        for atom in atoms:
            self._left[atom] -= 1
            if not self._left[atom]:
                self._free.append(self._registers.pop(atom))
