"""A cell's loop over time by the training kernels (``char_rnn/kernels/train.h``).

Dimensions: B batch, T time, V vocabulary, H hidden; arrays of all steps are time-major.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from char_rnn.cells import Loop, Value, derive
from char_rnn.kernels import (
    ArrayStructure,
    BufferRef,
    OperationStructure,
    ProgramStructure,
    UnitsStructure,
    load,
    openmp,
    packed,
)
from char_rnn.kernels.lowering import Elementwise, Lowering, RowOperation
from char_rnn.ops.equations import Gradients, Results, Tape

_OPERATORS = {"product": 0, "product_backward": 0, "normalize": 1, "normalize_backward": 2}
_ELEMENTWISE = 3


def can_run(loop: Loop, tensors: Sequence[Tensor], products: torch.dtype | None) -> bool:
    """Whether the kernels are built and can run such a loop on such tensors."""
    if not all(tensor.is_cpu and tensor.dtype == torch.float32 for tensor in tensors) or load() is None:
        return False
    if products not in (None, torch.bfloat16):
        return False
    return _forward(loop, keeps=True) is not None and _backward(loop) is not None


def forward(loop: Loop, given: Results, products: torch.dtype | None, *, keeps: bool) -> Tape:
    """Run all steps forward; see :func:`char_rnn.ops.tensor_loop.forward`."""
    program, kept = _forward(loop, keeps=keeps), derive(loop).kept if keeps else ()
    assert program is not None
    symbols = given["symbols"]
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
    program.run((time, batch), arrays, given, bfloat16=products is not None)
    return Tape(states, rows, [arrays["rstd", value] for value in kept if value.op == "normalize"])


def backward(
    loop: Loop, given: Results, tape: Tape, grads: Sequence[Tensor], products: torch.dtype | None
) -> Gradients:
    """Run all steps backward; see :func:`char_rnn.ops.tensor_loop.backward`."""
    program, backward = _backward(loop), derive(loop)
    assert program is not None
    output, *others = grads
    time, batch, hidden = output.shape
    carried = [output.new_zeros(batch, hidden), *(grad.clone(memory_format=torch.contiguous_format) for grad in others)]
    arrays = _arrays(loop, given)
    arrays.update(zip(loop.states, (part[:-1] for part in tape.states), strict=True))
    arrays.update(zip(backward.kept, tape.kept, strict=True))
    arrays.update(zip(backward.given, carried, strict=True))
    arrays[backward.output] = _dense(output)
    norms = [value for value in backward.kept if value.op == "normalize"]
    arrays.update((("rstd", value), rstd) for value, rstd in zip(norms, tape.deviations, strict=True))
    rows = {grad: output.new_empty(time, batch, grad.width) for grad in backward.rows}
    arrays.update((("row", grad), tensor) for grad, tensor in rows.items())
    sums = program.run((time, batch), arrays, given, bfloat16=products is not None)
    constants = [grad for grad in backward.of_constants if grad is not None]
    parts = () if sums is None else torch.split(sums, [grad.width for grad in constants])
    return Gradients(carried, rows, dict(zip(constants, parts, strict=True)))


def sum_by_symbol(rows: Tensor, symbols: Tensor, count: int) -> Tensor:
    """Sum rows, (T, B, width), by their symbols, (T, B), from 0 to below `count`; return (count, width)."""
    sums, flat = rows.new_empty(count, rows.shape[-1]), rows.flatten(0, 1)
    of_rows = flat.data_ptr(), flat.stride(0), symbols.data_ptr(), symbols.numel()
    load().train_sum_by_symbol(*of_rows, sums.data_ptr(), *sums.shape, torch.get_num_threads(), openmp())
    return sums


@lru_cache(maxsize=256)
def _forward(loop: Loop, *, keeps: bool) -> _Program | None:
    """Return the forward program; None if a step needs too many registers or cuts values inside blocks."""
    program, kept = _Program(is_backward=False), derive(loop).kept if keeps else ()
    given = {value: program.ref(value) for value in (*loop.sequences, *loop.constants, *loop.states, *loop.updates)}
    after = [(value, program.ref(("after", state))) for value, state in zip(loop.after, loop.states, strict=True)]
    wanted = [*after, *((value, program.ref(value)) for value in kept)]
    return program.lowered(loop.values, given, wanted, [], loop.states[0].width)


@lru_cache(maxsize=256)
def _backward(loop: Loop) -> _Program | None:
    """Return the backward program, likewise."""
    program, backward = _Program(is_backward=True), derive(loop)
    read = (*loop.sequences, *loop.constants, *loop.states, *loop.updates, *backward.kept)
    used = {each for value in backward.values for each in value.inputs} | {*backward.given, backward.output}
    given = {value: program.ref(value) for value in (*backward.given, backward.output, *read) if value in used}
    carried = [
        (of or Value("number", to.width), program.ref(to))  # zeros if the step does not read the state before it
        for of, to in zip(backward.of_states, backward.given, strict=True)
    ]
    wanted = [*((grad, program.ref(("row", grad))) for grad in backward.rows), *carried]
    constants = [grad for grad in backward.of_constants if grad is not None]
    starts = accumulate((grad.width for grad in constants), initial=0)
    program.sums_width = sum(grad.width for grad in constants)
    sums = list(zip(constants, starts, strict=False))
    return program.lowered(backward.values, given, wanted, sums, loop.states[0].width)


class _Program:
    """A ``program`` of train.h without its arrays.

    Attributes:
        numbers: Number of each array, by the key it is passed with.
        widths: Widths of the arrays that `run` allocates for a step, by number.
        sums_width: Width of all sums over rows together.
    """

    def __init__(self, *, is_backward: bool) -> None:
        self.is_backward, self.sums_width = is_backward, 0
        self.numbers: dict[Any, int] = {}
        self.widths: dict[int, int] = {}
        self._products: list[tuple[int, Value]] = []
        self._instructions: list[Any] = []  # kept alive, the operations have their addresses

    def ref(self, key: Any) -> BufferRef:
        """Return a reference to the array that is passed with a key."""
        return BufferRef(self.numbers.setdefault(key, len(self.numbers)))

    def lowered(self, values: Sequence[Value], given: Any, wanted: Any, sums: Any, hidden: int) -> _Program | None:
        """Lower the values; see :class:`char_rnn.kernels.lowering.Lowering`. Return None if that is impossible."""

        def scratch(width: int) -> BufferRef:
            ref = self.ref(object())
            self.widths[ref.array] = width
            return ref

        try:
            lowered = list(Lowering(values, given, wanted, sums, hidden, scratch).operations())
        except ValueError:
            return None
        self._operations = (OperationStructure * len(lowered))(*map(self._operation, lowered))
        products = [(number, each.value) for number, each in enumerate(lowered) if isinstance(each, RowOperation)]
        self._products = [(number, value) for number, value in products if value.op.startswith("product")]
        return self

    def _operation(self, operation: RowOperation | Elementwise) -> Any:
        if isinstance(operation, Elementwise):
            instructions = packed(operation.instructions)
            self._instructions.append(instructions)
            made = OperationStructure(_ELEMENTWISE, operation.width, length=len(instructions))
            made.instructions = ctypes.addressof(instructions)
            load().elementwise_prepare(made.instructions, len(instructions), operation.width)
            return made
        value, normalized = operation.value, operation.normalized or BufferRef(0)
        made = OperationStructure(_OPERATORS[value.op], value.width, value.inputs[0].width)
        made.out, made.normalized = UnitsStructure(*operation.out), UnitsStructure(*normalized)
        setattr(made, "in", UnitsStructure(*operation.read))
        if value.op.startswith("normalize"):
            norm = value.inputs[1] if value.op == "normalize_backward" else value
            made.rstd = UnitsStructure(*self.ref(("rstd", norm)))
        return made

    def run(self, size: tuple[int, int], given: dict[Any, Any], matrices: Results, *, bfloat16: bool) -> Tensor | None:
        """Run the program; return the sums over rows, if there are any.

        Args:
            size: T and B.
            given: Arrays by key: (T, B, width), (width,), or a table (V, width) and symbols (T, B) to look up.
            matrices: By name.
            bfloat16: Whether matrices are multiplied in bfloat16.

        Raises:
            MemoryError: There is not enough memory.
        """
        library, threads = load(), torch.get_num_threads()
        arrays = (ArrayStructure * len(self.numbers))()
        alive: list[Any] = []
        for key, number in self.numbers.items():
            width = self.widths.get(number)
            array = given[key] if width is None else torch.empty(size[1], width)
            alive.append(array)
            arrays[number] = _array(array)
        operations = type(self._operations).from_buffer_copy(self._operations)
        for number, value in self._products:
            matrix = _packed_matrix(library, value, matrices[value.name], bfloat16=bfloat16)
            alive.append(matrix)
            operations[number].weights, operations[number].is_bfloat16 = matrix.data_ptr(), bfloat16
        sums = torch.empty(threads, self.sums_width) if self.sums_width else None
        program = ProgramStructure(*size, self.is_backward, ctypes.addressof(operations), len(operations))
        program.arrays, program.sums_width = ctypes.addressof(arrays), self.sums_width
        program.sums = None if sums is None else sums.data_ptr()
        if library.train_run(ctypes.byref(program), threads, openmp(), openmp("omp_get_num_threads")):
            raise MemoryError("not enough memory for a layer's step")
        return None if sums is None else sums[0]


def _arrays(loop: Loop, given: Results) -> dict[Any, Any]:
    """Return a loop's arguments as the kernels can read them; with symbols, sequences are tables."""
    symbols = given["symbols"]
    dense: dict[Any, Any] = {value: _dense(tensor) for value, tensor in given.items() if isinstance(value, Value)}
    if symbols is not None:
        dense.update((value, (dense[value], symbols)) for value in loop.sequences if value in dense)
    return dense


def _dense(array: Tensor) -> Tensor:
    """Return an array whose units are adjacent in memory, itself or a copy."""
    return array if array.stride(-1) == 1 or array.shape[-1] == 1 else array.contiguous()


def _array(given: Any) -> Any:
    if isinstance(given, tuple):
        table, symbols = given
        return ArrayStructure(table.data_ptr(), 0, table.stride(0), symbols.data_ptr(), symbols.stride(0))
    step, row = (0, 0, *given.stride())[-3:-1]
    return ArrayStructure(given.data_ptr(), step, row, None, 0)


def _packed_matrix(library: Any, value: Value, matrix: Tensor, *, bfloat16: bool) -> Tensor:
    """Return the matrix of a product, transposed for that of a backward pass, in the layout of the kernels."""
    matrix, is_backward = matrix.contiguous(), value.op == "product_backward"
    columns = value.inputs[0].width
    packed = torch.empty(library.train_packed_size(value.width, columns, bfloat16), dtype=torch.uint8)
    stride = matrix.shape[1]
    first = matrix.data_ptr() + value.start * stride * matrix.element_size()
    library.train_pack(first, stride, value.width, columns, is_backward, bfloat16, packed.data_ptr())
    return packed
