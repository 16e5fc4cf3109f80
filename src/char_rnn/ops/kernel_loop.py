"""A cell's loop over time by the training kernels (``char_rnn/kernels/train.h``).

Dimensions: B batch, T time, H hidden; what is kept is time-major.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from char_rnn.cells import Loop, Value, derive
from char_rnn.kernels import load, openmp, openmp_team_size
from char_rnn.kernels.instructions import (
    ArrayStructure,
    BufferRef,
    OperationStructure,
    ProgramStructure,
    UnitsStructure,
    declared,
    packed,
)
from char_rnn.kernels.lowering import Elementwise, Problem, RowOperation, lower
from char_rnn.ops.equations import Results
from char_rnn.ops.tensor_loop import Gradients, Tape

_OPERATORS = {"product": 0, "product_back": 0, "normalize": 1, "normalize_back": 2}
_ELEMENTWISE = 3


@lru_cache(maxsize=1)
def kernels() -> Any:
    """Return the library, its functions declared; None where there is none."""
    library = load()
    if library is None or not hasattr(library, "train_run"):
        return None
    return declared(library)


def can_run(loop: Loop, tensors: Sequence[Tensor], products: torch.dtype | None) -> bool:
    """Whether the kernels are there, and run such a loop on such tensors."""
    if not all(tensor.is_cpu and tensor.dtype == torch.float32 for tensor in tensors) or kernels() is None:
        return False
    if products not in (None, torch.bfloat16) or (products is not None and not kernels().train_has_bfloat16()):
        return False
    return _forward(loop, keeps=True) is not None and _backward(loop) is not None


@dataclass
class Layout:
    """Numbers for the arrays of a program: those that a call brings, and room for rows of one step."""

    numbers: dict[Any, int] = field(default_factory=dict)
    widths: dict[int, int] = field(default_factory=dict)

    def place(self, key: Any) -> BufferRef:
        """Return where a call's array stands."""
        return BufferRef(self.numbers.setdefault(key, len(self.numbers)))

    def scratch(self, width: int) -> BufferRef:
        """Return room for rows so many numbers wide."""
        place = self.place(object())
        self.widths[place.array] = width
        return place


class Template:
    """A program but for the memory it works on."""

    def __init__(self, problem: Problem, layout: Layout, *, is_backward: bool, sums_width: int = 0) -> None:
        self.layout, self.is_backward, self.sums_width = layout, is_backward, sums_width
        self.products: list[tuple[int, Value]] = []
        self._instructions: list[Any] = []
        operations = []
        for number, operation in enumerate(lower(problem)):
            if isinstance(operation, Elementwise):
                operations.append(self._elementwise(operation))
            else:
                operations.append(self._row_operation(operation))
                if operation.value.op.startswith("product"):
                    self.products.append((number, operation.value))
        self.operations = (OperationStructure * len(operations))(*operations)

    def _row_operation(self, operation: RowOperation) -> Any:
        value, normalized = operation.value, operation.normalized or BufferRef(0)
        made = OperationStructure(_OPERATORS[value.op], value.width, value.inputs[0].width)
        made.out, made.normalized = UnitsStructure(*operation.out), UnitsStructure(*normalized)
        setattr(made, "in", UnitsStructure(*operation.read))
        if value.op.startswith("normalize"):
            norm = value.inputs[1] if value.op == "normalize_back" else value
            made.rstd = UnitsStructure(*self.layout.place(("rstd", norm)))
        return made

    def _elementwise(self, operation: Elementwise) -> Any:
        instructions = packed(operation.instructions)
        self._instructions.append(instructions)
        made = OperationStructure(_ELEMENTWISE, operation.width, length=len(instructions))
        made.instructions = ctypes.addressof(instructions)
        kernels().elementwise_prepare(made.instructions, len(instructions), operation.width)
        return made

    def run(self, size: tuple[int, int], given: dict[Any, Any], matrices: Results, *, bfloat16: bool) -> Tensor | None:
        """Run it on arrays by the layout's keys; return the sums over rows, where there are any.

        Args:
            size: T and B.
            given: Arrays (T, B, width) or (width,) or, to be looked up, a table (V, width) and symbols (T, B).
            matrices: By name.
            bfloat16: Whether matrices are multiplied in bfloat16.

        Raises:
            MemoryError: There is not enough memory.
        """
        library, threads = kernels(), torch.get_num_threads()
        arrays = (ArrayStructure * len(self.layout.numbers))()
        alive: list[Any] = []
        for key, number in self.layout.numbers.items():
            width = self.layout.widths.get(number)
            array = given[key] if width is None else torch.empty(size[1], width)
            alive.append(array)
            arrays[number] = _array(array)
        operations = type(self.operations).from_buffer_copy(self.operations)
        for number, value in self.products:
            matrix = _packed_matrix(library, value, matrices[value.name], bfloat16=bfloat16)
            alive.append(matrix)
            operations[number].weights, operations[number].is_bfloat16 = matrix.data_ptr(), bfloat16
        sums = torch.empty(threads, self.sums_width) if self.sums_width else None
        address = None if sums is None else sums.data_ptr()
        program = ProgramStructure(*size, self.is_backward, ctypes.addressof(operations), len(operations))
        program.arrays, program.sums, program.sums_width = ctypes.addressof(arrays), address, self.sums_width
        if library.train_run(ctypes.byref(program), threads, openmp(), openmp_team_size()):
            raise MemoryError("not enough memory for a layer's step")
        return None if sums is None else sums[0]


def _array(given: Any) -> Any:
    if isinstance(given, tuple):
        table, symbols = given
        return ArrayStructure(table.data_ptr(), 0, table.stride(0), symbols.data_ptr(), symbols.stride(0))
    step, row = (0, 0, *given.stride())[-3:-1]
    return ArrayStructure(given.data_ptr(), step, row, None, 0)


def _packed_matrix(library: Any, value: Value, matrix: Tensor, *, bfloat16: bool) -> Tensor:
    """Return the matrix of a product, or its transpose for the backward pass of one, as the kernels read it."""
    matrix, back = matrix.contiguous(), value.op == "product_back"
    columns = value.inputs[0].width
    packed = torch.empty(library.train_packed_size(value.width, columns, bfloat16), dtype=torch.uint8)
    stride = matrix.shape[1]
    first = matrix.data_ptr() + value.start * stride * matrix.element_size()
    library.train_pack(first, stride, value.width, columns, back, bfloat16, packed.data_ptr())
    return packed


@lru_cache(maxsize=256)
def _forward(loop: Loop, *, keeps: bool) -> Template | None:
    """Return the forward program; None where a step needs too many registers, or values cut between blocks."""
    layout, kept = Layout(), derive(loop).kept if keeps else ()
    given = {value: layout.place(value) for value in (*loop.sequences, *loop.constants, *loop.states, *loop.updates)}
    after = [(value, layout.place(("after", state))) for value, state in zip(loop.after, loop.states, strict=True)]
    wanted = [*after, *((value, layout.place(value)) for value in kept)]
    problem = Problem(loop.values, given, wanted, [], loop.states[0].width, layout.scratch)
    try:
        return Template(problem, layout, is_backward=False)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _backward(loop: Loop) -> Template | None:
    """Return the backward program, likewise."""
    layout, backward = Layout(), derive(loop)
    read = (*loop.sequences, *loop.constants, *loop.states, *loop.updates, *backward.kept)
    used = {each for value in backward.values for each in value.inputs} | {*backward.given, backward.output}
    given = {value: layout.place(value) for value in (*backward.given, backward.output, *read) if value in used}
    carried = [
        (of or Value("number", to.width), layout.place(to))  # zeros where nothing reads the state before the step
        for of, to in zip(backward.of_states, backward.given, strict=True)
    ]
    wanted = [*((grad, layout.place(("row", grad))) for grad in backward.rows), *carried]
    constants = [grad for grad in backward.of_constants if grad is not None]
    starts = accumulate((grad.width for grad in constants), initial=0)
    sums = list(zip(constants, starts, strict=False))
    problem = Problem(backward.values, given, wanted, sums, loop.states[0].width, layout.scratch)
    try:
        return Template(problem, layout, is_backward=True, sums_width=sum(grad.width for grad in constants))
    except ValueError:
        return None


def forward(loop: Loop, given: Results, products: torch.dtype | None, *, keeps: bool) -> Tape:
    """Run all steps forward; see :func:`char_rnn.ops.tensor_loop.forward`."""
    template, kept = _forward(loop, keeps=keeps), derive(loop).kept if keeps else ()
    assert template is not None
    symbols = given.get("symbols")
    time, batch = (given[loop.sequences[0]] if symbols is None else symbols).shape[:2]
    states = [given[value].new_empty(time + 1, batch, value.width) for value in loop.states]
    arrays = _arrays(loop, given)
    for value, buffer in zip(loop.states, states, strict=True):
        buffer[0] = given[value]
        arrays[value], arrays["after", value] = buffer[:-1], buffer[1:]
    norms = [value for value in loop.values if value.op == "normalize"]
    rows = [states[0].new_empty(time, batch, value.width) for value in kept]
    arrays.update(zip(kept, rows, strict=True))
    arrays.update((("rstd", value), states[0].new_empty(time, batch, 1)) for value in norms)
    template.run((time, batch), arrays, given, bfloat16=products is not None)
    return Tape(states, rows, [arrays["rstd", value] for value in kept if value.op == "normalize"])


def backward(
    loop: Loop, given: Results, tape: Tape, grads: Sequence[Tensor], products: torch.dtype | None
) -> Gradients:
    """Run all steps backward; see :func:`char_rnn.ops.tensor_loop.backward`."""
    template, backward = _backward(loop), derive(loop)
    assert template is not None
    output, *others = grads
    time, batch, hidden = output.shape
    carried = [output.new_zeros(batch, hidden), *(grad.clone(memory_format=torch.contiguous_format) for grad in others)]
    arrays = _arrays(loop, given)
    arrays.update(zip(loop.states, (part[:-1] for part in tape.states), strict=True))
    arrays.update(zip(backward.kept, tape.kept, strict=True))
    arrays.update(zip(backward.given, carried, strict=True))
    arrays[backward.output] = _usable(output)
    norms = [value for value in backward.kept if value.op == "normalize"]
    arrays.update((("rstd", value), rstd) for value, rstd in zip(norms, tape.deviations, strict=True))
    rows = {grad: output.new_empty(time, batch, grad.width) for grad in backward.rows}
    arrays.update((("row", grad), tensor) for grad, tensor in rows.items())
    sums = template.run((time, batch), arrays, given, bfloat16=products is not None)
    constants = [grad for grad in backward.of_constants if grad is not None]
    parts = () if sums is None else torch.split(sums, [grad.width for grad in constants])
    return Gradients(carried, rows, dict(zip(constants, parts, strict=True)))


def sum_by_symbol(rows: Tensor, symbols: Tensor, count: int) -> Tensor:
    """Return the sums of rows, (T, B, width), by their symbols, (T, B), of which there are `count`: (count, width)."""
    sums, flat = rows.new_empty(count, rows.shape[-1]), rows.flatten(0, 1)
    of_rows = flat.data_ptr(), flat.stride(0), symbols.data_ptr(), symbols.numel()
    kernels().train_sum_by_symbol(*of_rows, sums.data_ptr(), *sums.shape, torch.get_num_threads(), openmp())
    return sums


def _arrays(loop: Loop, given: Results) -> dict[Any, Any]:
    """Return what a loop is given, as the kernels can read it; sequences are tables where there are symbols."""
    symbols = given.get("symbols")
    usable: dict[Any, Any] = {value: _usable(tensor) for value, tensor in given.items() if isinstance(value, Value)}
    if symbols is not None:
        usable.update((value, (usable[value], symbols)) for value in loop.sequences if value in usable)
    return usable


def _usable(array: Tensor) -> Tensor:
    """Return an array whose units are neighbours, itself or a copy of it."""
    return array if array.stride(-1) == 1 or array.shape[-1] == 1 else array.contiguous()
