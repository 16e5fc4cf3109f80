"""A small language for the equations of recurrent cells.

A cell's equations are Python on :class:`Value` and :class:`Matrix`; running them once makes a graph, which each backend
evaluates (:func:`evaluate`) or compiles. A value represents a row of numbers for every sequence of a batch: (B, width).
The operations, and their arguments in addition to their inputs:

===================  ==================================================================================
``x``                the layer's input; (B, I)
``state``            part of the state before the step, by `name`; (B, H)
``update``           how far zoneout lets a part of the state move, by `name`; (B, H)
``vector``           parameter, the same for all sequences, by `name`
``number``           constant `number`
``product``          rows of the matrix `name` from `start`, times the input
``add``              sum of two values; likewise ``subtract`` and ``multiply``
``sigmoid``          of each number; likewise ``tanh``, ``relu`` and ``softplus``
``slice``            numbers from `start`
``join``             values side by side
``normalize``        (v - mean) / sqrt(variance + EPSILON), over the numbers of a row
===================  ==================================================================================

Derivatives (:mod:`char_rnn.cells.gradient`) use some more: ``grad`` (a gradient that a step is given, by `name`),
``product_backward`` (the transpose of a product's matrix times the input), ``normalize_backward`` (from the gradient of
a normalized row, and that row), and the slopes ``sigmoid_slope``, ``tanh_slope``, ``relu_slope`` and ``softplus_slope``
at a function's result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, TypeVar

EPSILON = 1e-5
"""Added to the variance by a normalization."""

FUNCTIONS = ("sigmoid", "tanh", "relu", "softplus")
"""Functions of one number; the slope of each is ``<name>_slope`` of its result."""

Part = TypeVar("Part", "Value", "Matrix")


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A row of numbers for every sequence, and its operation. Two values are equal only if they are the same object."""

    op: str
    width: int
    inputs: tuple[Value, ...] = ()
    name: str = ""
    start: int = 0
    number: float = 0.0

    def __add__(self, other: Value | float) -> Value:
        return _combined("add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        return _combined("subtract", self, other)

    def __mul__(self, other: Value | float) -> Value:
        return _combined("multiply", self, other)

    def __rsub__(self, other: float) -> Value:
        return _combined("subtract", self._filled(other), self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Value:
        return 0.0 - self

    def __repr__(self) -> str:
        return f"<{self.op}{self.name and ' '}{self.name}, {self.width} wide>"

    def _filled(self, number: float) -> Value:
        return Value("number", self.width, number=float(number))


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows `start` to `stop` of a parameter with so many columns. ``matrix @ value`` is their product."""

    name: str
    start: int
    stop: int
    columns: int

    @property
    def width(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    def __matmul__(self, value: Value) -> Value:
        if value.width != self.columns:
            raise ValueError(f"{self.name}: has {self.columns} columns, but the value is {value.width} wide")
        return Value("product", self.width, (value,), self.name, self.start)


def sigmoid(value: Value) -> Value:
    """1 / (1 + exp(-v))."""
    return Value("sigmoid", value.width, (value,))


def tanh(value: Value) -> Value:
    """The hyperbolic tangent."""
    return Value("tanh", value.width, (value,))


def relu(value: Value) -> Value:
    """max(v, 0)."""
    return Value("relu", value.width, (value,))


def softplus(value: Value) -> Value:
    """log(1 + exp(v)), which is -log(sigmoid(-v))."""
    return Value("softplus", value.width, (value,))


def normalize(value: Value, gain: Value | None, bias: Value | None = None) -> Value:
    """Normalize each row to mean 0 and variance 1, times the gain, plus the bias; without a gain return the value."""
    if gain is None:
        return value
    scaled = Value("normalize", value.width, (value,)) * gain
    return scaled if bias is None else scaled + bias


def concatenate(*values: Value) -> Value:
    """Join values side by side."""
    parts = tuple(each for value in values for each in (value.inputs if value.op == "join" else (value,)))
    return Value("join", sum(value.width for value in values), parts)


def rows(whole: Part, start: int, stop: int) -> Part:
    """Return the numbers of a value, or the rows of a matrix, from `start` to before `stop`."""
    if not 0 <= start < stop <= whole.width:
        raise ValueError(f"rows {start} to {stop}: there are {whole.width} rows")
    if isinstance(whole, Matrix):
        return replace(whole, start=whole.start + start, stop=whole.start + stop)
    if stop - start == whole.width:
        return whole
    if whole.op == "number":
        return replace(whole, width=stop - start)
    if whole.op == "slice":
        return replace(whole, width=stop - start, start=whole.start + start)
    if whole.op == "join":
        bounds = [0, *accumulate(each.width for each in whole.inputs)]
        if start in bounds and stop in bounds:
            parts = whole.inputs[bounds.index(start) : bounds.index(stop)]
            return parts[0] if len(parts) == 1 else concatenate(*parts)
    return Value("slice", stop - start, (whole,), start=start)


def split(whole: Part | None, *shares: int) -> list[Any]:
    """Cut a value, or a matrix by its rows, into adjacent parts: ``split(gates, 2, 1)`` returns 2/3 and 1/3 of it.

    None is cut into None, for parameters that a cell has only with an option.
    """
    if whole is None:
        return [None] * len(shares)
    unit, rest = divmod(whole.width, sum(shares))
    if rest:
        raise ValueError(f"split: {whole.width} rows cannot be cut into {sum(shares)} equal parts")
    bounds = accumulate((share * unit for share in shares), initial=0)
    return [rows(whole, start, stop) for start, stop in pairwise(bounds)]


def is_constant(value: Value) -> bool:
    """Whether a value depends only on parameters and numbers: the same at every step and for every sequence."""
    return value.op in ("vector", "number") or (value.inputs != () and all(map(is_constant, value.inputs)))


def _combined(op: str, left: Value, right: Value | float) -> Value:
    if not isinstance(right, Value):
        right = left._filled(right)
    if left.width != right.width:
        raise ValueError(f"{op}: the values are {left.width} and {right.width} wide; they must be equally wide")
    return Value(op, left.width, (left, right))


def ordered(values: Iterable[Value], known: Iterable[Value] = ()) -> list[Value]:
    """Return the values to compute for some values, each after its inputs, without the `known` ones."""
    order: dict[Value, None] = {}
    known = set(known)

    def visit(value: Value) -> None:
        if value not in order and value not in known:
            for each in value.inputs:
                visit(each)
            order[value] = None

    for value in values:
        visit(value)
    return list(order)


def evaluate(order: Iterable[Value], results: dict[Value, Any], operations: Mapping[str, Callable[..., Any]]) -> None:
    """Compute values in order, and add them to the results.

    Args:
        order: Result of :func:`ordered`.
        results: Known results by value.
        operations: Functions of a value and the results of its inputs, by the names of the language.
    """
    for value in order:
        results[value] = operations[value.op](value, *(results[each] for each in value.inputs))
