"""Programs for the training kernels, put together by hand, and what NumPy makes of their instructions in float64."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from char_rnn import kernels
from char_rnn.kernels import ArrayStructure, BufferRef, OperationStructure, ProgramStructure, UnitsStructure, packed

Array = NDArray[np.float32]
OPERATORS = ("product", "normalize", "normalize_back", "elementwise")


@dataclass(frozen=True)
class Instruction:
    code: str
    to: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    array: int = 0
    unit: int = 0
    number: float = 0.0

    def lowered(self) -> tuple[Any, ...]:
        place = BufferRef(self.array, self.unit)
        return self.code, self.to, (self.a, self.b, self.c), place, self.number


@dataclass
class Program:
    """Operations on arrays: (T, B, n), (B, n) for a step's rows, (n,) for one vector, or a table and symbols (T, B)."""

    library: Any
    time: int
    batch: int
    arrays: list[Array | tuple[Array, NDArray[np.int64]]]
    sums_width: int = 0
    is_backward: bool = False
    operations: list[Any] = field(default_factory=list)
    alive: list[Any] = field(default_factory=list)

    def add(self, operator: str, **fields: Any) -> None:
        made = OperationStructure(operator=OPERATORS.index(operator))
        for name, value in fields.items():
            setattr(made, name, UnitsStructure(*value) if isinstance(value, tuple) else value)
        self.operations.append(made)

    def add_elementwise(self, width: int, instructions: Sequence[Instruction]) -> None:
        listed = packed([kernels.Instruction(*each.lowered()) for each in instructions])
        self.library.elementwise_prepare(ctypes.addressof(listed), len(listed), width)
        self.alive.append(listed)
        self.add("elementwise", width=width, instructions=ctypes.addressof(listed), length=len(listed))

    def add_product(self, matrix: Array, *, transposed: bool = False, bfloat16: bool = False, **fields: Any) -> None:
        width, columns = matrix.shape[::-1] if transposed else matrix.shape
        memory = aligned(self.library.train_packed_size(width, columns, bfloat16))
        stride = matrix.strides[0] // 4
        self.library.train_pack(matrix.ctypes.data, stride, width, columns, transposed, bfloat16, memory.ctypes.data)
        self.alive.append(memory)
        self.add("product", width=width, columns=columns, is_bfloat16=bfloat16, weights=memory.ctypes.data, **fields)

    def run(self, threads: int = 1, start: Any = None, team_size: Any = None) -> Array:
        """Run it; return the sums over rows."""
        arrays = (ArrayStructure * len(self.arrays))(*map(_described, self.arrays))
        operations = (OperationStructure * len(self.operations))(*self.operations)
        sums = np.full((threads, self.sums_width), np.nan, np.float32)
        program = ProgramStructure(
            self.time,
            self.batch,
            self.is_backward,
            ctypes.addressof(operations),
            len(operations),
            ctypes.addressof(arrays),
            sums.ctypes.data if self.sums_width else None,
            self.sums_width,
        )
        assert self.library.train_run(ctypes.byref(program), threads, start, team_size) == 0
        return sums[0]


def _described(array: Array | tuple[Array, NDArray[np.int64]]) -> Any:
    if isinstance(array, tuple):
        table, rows = array
        return ArrayStructure(table.ctypes.data, 0, table.strides[0] // 4, rows.ctypes.data, rows.shape[1])
    step, row = (0, 0, *(stride // 4 for stride in array.strides))[-3:-1]
    return ArrayStructure(array.ctypes.data, step, row, None, 0)


def aligned(size: int) -> NDArray[np.uint8]:
    """Return so many bytes from a multiple of 64 on."""
    memory = np.empty(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :][:size]


def rows(generator: np.random.Generator, *shape: int, gap: int = 3) -> Array:
    """Return an array whose rows have a gap between them, of NaN."""
    whole = np.full((*shape[:-1], shape[-1] + gap), np.nan, np.float32)
    whole[..., : shape[-1]] = generator.standard_normal(shape, dtype=np.float32)
    return whole[..., : shape[-1]]


def assert_gaps_untouched(array: Array) -> None:
    assert array.base is not None
    assert np.isnan(array.base[..., array.shape[-1] :]).all()


def to_bfloat16(array: Array) -> Array:
    """Round to the nearest bfloat16, ties to even."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


COMPUTED: dict[str, Any] = {
    "NUMBER": lambda number, a, b, c: np.full_like(a, number),
    "SCALE": lambda number, a, b, c: number * a,
    "ADD": lambda number, a, b, c: a + b,
    "SUBTRACT": lambda number, a, b, c: a - b,
    "MULTIPLY": lambda number, a, b, c: a * b,
    "MULTIPLY_ADD": lambda number, a, b, c: a * b + c,
    "SIGMOID": lambda number, a, b, c: sigmoid(a),
    "TANH": lambda number, a, b, c: np.tanh(a),
    "RELU": lambda number, a, b, c: np.where(a < 0, 0, a),
    "SOFTPLUS": lambda number, a, b, c: np.logaddexp(a, 0),
    "SIGMOID_SLOPE": lambda number, a, b, c: a * (1 - a),
    "TANH_SLOPE": lambda number, a, b, c: 1 - a * a,
    "RELU_SLOPE": lambda number, a, b, c: np.where(a > 0, 1.0, 0.0),
    "SOFTPLUS_SLOPE": lambda number, a, b, c: 1 - np.exp(-a),
}


def interpret(instructions: Sequence[Instruction], width: int, arrays: list[Any], time: int, sums_width: int) -> Any:
    """Run instructions one after the other, step by step, on float64 copies of arrays (T, B, n); return the sums."""
    sums = np.zeros(sums_width)
    registers: dict[int, Any] = {}
    for t in range(time):
        for i in instructions:
            units = slice(i.unit, i.unit + width)
            if i.code == "LOAD":
                registers[i.to] = arrays[i.array][t][:, units].copy()
            elif i.code == "STORE":
                arrays[i.array][t][:, units] = registers[i.a]
            elif i.code == "SUM_ROWS":
                sums[units] += registers[i.a].sum(0)
            else:
                operands = [registers[r] for r in (i.a, i.b, i.c)]
                registers[i.to] = COMPUTED[i.code](i.number, *operands)
    return sums


def recurrent(lib: Any, batch: int, width: int, *, bfloat16: bool = False, **how: Any) -> tuple[Array, Array]:
    """Five steps of h = tanh(W h + x); the states and the sums of the last lines."""
    generator = np.random.default_rng(7)
    matrix = generator.standard_normal((width, width), dtype=np.float32) / np.float32(width**0.5)
    x, h, z = rows(generator, 5, batch, width), rows(generator, 6, batch, width), rows(generator, batch, width)
    program = Program(lib, 5, batch, [x, h[:-1], h[1:], z], width)
    program.add_product(matrix, out=(3, 0), bfloat16=bfloat16, **{"in": (1, 0)})
    loads = [Instruction("LOAD", to=0, array=0), Instruction("LOAD", to=1, array=3), Instruction("ADD", a=0, b=1)]
    ends = [Instruction("TANH"), Instruction("STORE", array=2), Instruction("SUM_ROWS")]
    program.add_elementwise(width, [*loads, *ends])
    sums = program.run(**how)
    return h, sums
