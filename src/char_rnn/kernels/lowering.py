"""Turns values of the cells' language into the operations that the kernels run on rows of numbers.

A row operation (a product, a normalization) reads and writes whole rows in memory. What stands between two of them is a
list of instructions on registers, which hold blocks of H numbers: a wider value is several blocks, so that it costs
nothing to cut it or to put values side by side. A stage is one list of instructions and the row operations after it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from char_rnn.cells import Value
from char_rnn.kernels.instructions import Atom, BufferRef, Instruction, LoweringError, Plan, Registers

ROW_OPERATIONS = ("product", "product_back", "normalize", "normalize_back")

CODES = {
    "add": "ADD",
    "subtract": "SUBTRACT",
    "multiply": "MULTIPLY",
    "sigmoid": "SIGMOID",
    "tanh": "TANH",
    "relu": "RELU",
    "sigmoid_slope": "SIGMOID_SLOPE",
    "tanh_slope": "TANH_SLOPE",
    "relu_slope": "STEP",
}


class RowOperation(NamedTuple):
    """What `value` is computed by, from the numbers at `read`.

    Those at `normalized` are a normalization's result, those at `start` what a product's sums begin with.
    """

    value: Value
    out: BufferRef
    read: BufferRef
    normalized: BufferRef | None
    start: BufferRef | None = None


class Elementwise(NamedTuple):
    """Instructions on blocks so many numbers wide."""

    width: int
    instructions: list[Instruction]


@dataclass
class Problem:
    """What is to be lowered.

    Attributes:
        values: What to compute, each value after its inputs.
        given: Where what they are computed from stands.
        wanted: Where values are to be stored. That may be where a given value stands: it is not read any more then.
        sums: Values whose rows are to be summed up, and the first unit of each sum.
        hidden: H.
        scratch: Returns a place for so many numbers.
    """

    values: Sequence[Value]
    given: Mapping[Value, BufferRef]
    wanted: Sequence[tuple[Value, BufferRef]]
    sums: Sequence[tuple[Value, int]]
    hidden: int
    scratch: Callable[[int], BufferRef]


def lower(problem: Problem) -> list[RowOperation | Elementwise]:
    """Return the operations, in their order.

    Raises:
        LoweringError: A value is cut elsewhere than at multiples of H.
        TooManyValuesError: There are not enough registers.
    """
    return list(_Lowering(problem).operations())


class _Lowering:
    def __init__(self, problem: Problem) -> None:
        self.given, self.hidden, self.scratch = problem.given, problem.hidden, problem.scratch
        self.rows = [value for value in problem.values if value.op in ROW_OPERATIONS]
        self.made: dict[Value, BufferRef] = {}  # what row operations make
        self.saved: dict[Atom, BufferRef] = {}  # what a list stores and later lists load
        self.stages: dict[Atom, int] = {}
        self.stores: dict[int, list[tuple[Atom, BufferRef]]] = defaultdict(list)
        self.sums: dict[int, list[tuple[Atom, int]]] = defaultdict(list)
        self.read: dict[Value, BufferRef] = {}  # what row operations read
        self.uses: Counter[Atom] = Counter()
        self._place(problem)

    def operations(self) -> Iterator[RowOperation | Elementwise]:
        last = max([*self.stores, *self.sums, *map(self.row_stage, self.rows)], default=0)
        for stage in range(last + 1):
            widths = dict.fromkeys(self.width(atom[0]) for atom, _ in (*self.stores[stage], *self.sums[stage]))
            for width in widths:
                yield Elementwise(width, self._instructions(stage, width))
            for value in self.rows:
                if self.row_stage(value) == stage:
                    places = [self.memory(each) or self.read[each] for each in value.inputs]
                    read, other = places[0], places[1] if len(places) > 1 else None
                    normalized, start = (None, other) if _has_start(value) else (other, None)
                    yield RowOperation(value, self.made[value], read, normalized, start)

    def width(self, value: Value) -> int:
        """Return how wide a value's blocks are."""
        return value.width if value.width % self.hidden else self.hidden

    def atoms(self, value: Value) -> list[Atom]:
        """Return a value's blocks."""
        return [self.atom(value, block) for block in range(value.width // self.width(value))]

    def atom(self, value: Value, block: int) -> Atom:
        """Return a block, as that of a value which is neither cut out of another nor put together of others."""
        if value in self.given:
            return value, block
        width = self.width(value)
        if value.op == "slice":
            if value.start % width or self.width(value.inputs[0]) != width:
                raise LoweringError(
                    f"a value {value.inputs[0].width} wide is cut at {value.start}, no multiple of {width}"
                )
            return self.atom(value.inputs[0], block + value.start // width)
        if value.op == "join":
            for part in value.inputs:
                if self.width(part) != width:
                    raise LoweringError(f"values {width} and {part.width} wide are put side by side")
                if block < part.width // width:
                    return self.atom(part, block)
                block -= part.width // width
        return value, block

    def memory(self, value: Value) -> BufferRef | None:
        """Return where a whole value stands; None if nowhere."""
        place = self.given.get(value) or self.made.get(value)
        if place is None and value.op == "slice":
            whole = self.memory(value.inputs[0])
            return None if whole is None else whole.after(value.start)
        return place

    def in_memory(self, atom: Atom, stage: int) -> BufferRef | None:
        """Return where a block can be loaded from in a stage; None if it is to be computed."""
        value, block = atom
        place = self.given.get(value) or self.made.get(value)
        if place is not None:
            return place.after(block * self.width(value))
        return self.saved.get(atom) if self.stage(atom) < stage else None

    def operands(self, atom: Atom) -> list[Atom]:
        """Return the blocks that a block is computed from; none for a given one and a number."""
        value, block = atom
        if value in self.given or value.op in ROW_OPERATIONS:
            return []
        return [self.atom(each, block) for each in value.inputs]

    def stage(self, atom: Atom) -> int:
        """Return the first stage whose instructions can have a block."""
        if atom not in self.stages:
            value = atom[0]
            if value not in self.given and value.op in ROW_OPERATIONS:
                self.stages[atom] = self.row_stage(value) + 1
            else:
                self.stages[atom] = max(map(self.stage, self.operands(atom)), default=0)
        return self.stages[atom]

    def row_stage(self, value: Value) -> int:
        """Return the stage that a row operation ends."""
        return max(self.stage(atom) for read in value.inputs for atom in self.atoms(read))

    def _place(self, problem: Problem) -> None:
        """Decide where everything stands, and in which stage it is stored."""
        last_read = self._last_reads(problem)
        wanted = list(problem.wanted)
        for value in self.rows:
            places = [place for each, place in wanted if each is value]
            free = (place for place in places if last_read.get(place.array, -1) <= self.row_stage(value))
            self.made[value] = next(free, None) or self.scratch(value.width)
        for read in (each for value in self.rows for each in value.inputs):
            if self.memory(read) is None and read not in self.read:
                places = [place for each, place in wanted if each is read and place.array not in last_read]
                self.read[read] = places[0] if places else self.scratch(read.width)
                self._store(read, self.read[read], 0)
        for value, place in wanted:
            if place not in (self.made.get(value), self.read.get(value), self.given.get(value)):
                self._store(value, place, last_read.get(place.array, 0))
        for value, unit in problem.sums:
            for block, atom in enumerate(self.atoms(value)):
                self.sums[self.stage(atom)].append((atom, unit + block * self.width(value)))
        self._save_between_stages(problem)

    def _store(self, value: Value, place: BufferRef, not_before: int) -> None:
        for block, atom in enumerate(self.atoms(value)):
            to = place.after(block * self.width(value))
            self.stores[max(self.stage(atom), not_before)].append((atom, to))
            if not not_before:
                self.saved.setdefault(atom, to)

    def _last_reads(self, problem: Problem) -> dict[int, int]:
        """Return the last stage that reads each array that is written to; of a row operation, the stage after it."""
        written = {place.array for _, place in problem.wanted}
        found: dict[int, int] = {}
        for value in problem.values:
            is_row = value.op in ROW_OPERATIONS
            for read in value.inputs:
                for atom in self.atoms(read):
                    place = self.given.get(atom[0])
                    if place is not None and place.array in written:
                        stage = self.row_stage(value) + 1 if is_row else self._last_stage(value)
                        found[place.array] = max(found.get(place.array, 0), stage)
        moved = {place.array for value, _ in problem.wanted for place in self._given_places(value)} & written
        if not moved:
            return found
        # Two values may change places: then both are stored in one stage, after the last one that reads any of them.
        return dict.fromkeys([*found, *moved], max(found.values(), default=0))

    def _given_places(self, value: Value) -> list[BufferRef]:
        """Return where those of a value's blocks are that are given."""
        return [self.given[each] for each, _ in self.atoms(value) if each in self.given]

    def _last_stage(self, value: Value) -> int:
        return max(map(self.stage, self.atoms(value)))

    def _save_between_stages(self, problem: Problem) -> None:
        """Store what later lists of instructions need of what an earlier one computes; count the uses of all blocks."""
        users: dict[Atom, list[int]] = defaultdict(list)
        for value in problem.values:
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

    def _instructions(self, stage: int, width: int) -> list[Instruction]:
        stores = [(atom, place) for atom, place in self.stores[stage] if self.width(atom[0]) == width]
        sums = [(atom, unit) for atom, unit in self.sums[stage] if self.width(atom[0]) == width]
        return Registers(self, stage).write(stores, sums)

    def plan(self, atom: Atom, stage: int) -> Plan:
        """Return how a stage has a block: a code, the blocks it takes, and a number."""
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
        return CODES[value.op], operands, 0.0

    def _can_fuse(self, atom: Atom, stage: int) -> bool:
        """Whether a block is a product of two that a sum can compute, rounding once.

        Where a factor is a sum it is not, as in 1.0, so that the predictions of a GRU stay the same to the bit.
        """
        if atom[0].op != "multiply" or self.uses[atom] != 1 or self.in_memory(atom, stage) is not None:
            return False
        return not any(value.op == "add" or _has_start(value) for value, _ in self.operands(atom))


def _has_start(value: Value) -> bool:
    return value.op == "product" and len(value.inputs) > 1
