"""The backward pass of a loop, derived from its values.

Dimensions: B batch, T time, H hidden.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

from char_rnn.cells.cell import Loop
from char_rnn.cells.language import FUNCTIONS, Value, concatenate, ordered, rows

Contribution = tuple[int, int, Value]
"""(first, stop, gradient): the gradient of a value's numbers from `first` to before `stop`."""


@dataclass(frozen=True, eq=False)
class Backward:
    """A step of the backward pass: from the gradients of the state after a step to those of its inputs.

    Attributes:
        given: Gradients of the parts of the state after the step from later steps, ``grad`` by name.
        output: Gradient of the first part as the layer's output, ``grad`` without a name.
        of_states: Gradients of the parts before the step; None, here and below, where there is no gradient.
        of_sequences: Gradients of the loop's sequences, in their order.
        of_constants: Gradients of its constants for every sequence of the batch, in their order; to be summed.
        of_products: Products of the loop, each with its gradient.
        kept: Saved for backward, for each step: values of the loop, including those multiplied with a matrix.
        values: Values to compute, each after its inputs.
    """

    given: tuple[Value, ...]
    output: Value
    of_states: tuple[Value | None, ...]
    of_sequences: tuple[Value | None, ...]
    of_constants: tuple[Value | None, ...]
    of_products: tuple[tuple[Value, Value], ...]
    kept: tuple[Value, ...]
    values: tuple[Value, ...]

    @property
    def rows(self) -> list[Value]:
        """Gradients that are needed for every step: those of the sequences and of the products."""
        wanted = (*self.of_sequences, *(grad for _, grad in self.of_products))
        return list(dict.fromkeys(grad for grad in wanted if grad is not None))


_derived: WeakKeyDictionary[Loop, Backward] = WeakKeyDictionary()


def derive(loop: Loop) -> Backward:
    """Return the backward pass of a loop; always the same one, because backends cache programs by its values."""
    return _derived.get(loop) or _derived.setdefault(loop, _derive(loop))


def _derive(loop: Loop) -> Backward:
    """Apply the chain rule from a loop's last value to its first."""
    given = tuple(Value("grad", state.width, name=state.name) for state in loop.states)
    contributions: dict[Value, list[Contribution]] = defaultdict(list)
    for value, of_state in zip(loop.after, given, strict=True):
        contributions[value].append((0, value.width, of_state))
    output = Value("grad", given[0].width)
    contributions[loop.after[0]].append((0, output.width, output))
    of_products: list[tuple[Value, Value]] = []
    for value in reversed(loop.values):
        grad = _total(value, contributions[value])
        if grad is not None:
            if value.op == "product":
                of_products.append((value, grad))
            _pass_on(value, grad, contributions)

    def found(values: tuple[Value, ...]) -> tuple[Value | None, ...]:
        return tuple(_total(value, contributions[value]) for value in values)

    results = found(loop.states), found(loop.sequences), found(loop.constants)
    wanted = [grad for group in results for grad in group if grad is not None] + [grad for _, grad in of_products]
    leaves = {*given, output, *loop.states, *loop.sequences, *loop.constants, *loop.updates}
    read = {value.inputs[0] for value, _ in of_products}
    kept = {value for value in loop.values if value in read or _is_kept(value)}
    values = [value for value in ordered(wanted, {*kept, *leaves}) if value not in leaves]
    used = {each for value in values for each in value.inputs} | read
    needed = tuple(value for value in loop.values if value in kept and value in used)
    return Backward(given, output, *results, tuple(of_products), needed, tuple(values))


def _is_kept(value: Value) -> bool:
    """Whether a value is saved for the backward pass if that needs it; others are recomputed from these."""
    return value.op in ("product", "normalize", *FUNCTIONS) or (value.op == "slice" and value.inputs[0].op == "product")


def _pass_on(value: Value, grad: Value, contributions: dict[Value, list[Contribution]]) -> None:
    """Add the contributions of a value's gradient to those of its inputs."""

    def give(to: Value, what: Value, start: int = 0) -> None:
        if to.op != "number":
            contributions[to].append((start, start + what.width, what))

    match value.op, value.inputs:
        case "add", (left, right):
            give(left, grad)
            give(right, grad)
        case "subtract", (left, right):
            give(left, grad)
            give(right, 0.0 - grad)
        case "multiply", (left, right):
            give(left, grad * right)
            give(right, grad * left)
        case "slice", (whole,):
            give(whole, grad, value.start)
        case "join", parts:
            start = 0
            for each in parts:
                give(each, rows(grad, start, start + each.width))
                start += each.width
        case "product", (read,):
            give(read, Value("product_backward", read.width, (grad,), value.name, value.start))
        case "normalize", (read,):
            give(read, Value("normalize_backward", read.width, (grad, value)))
        case name, (read,) if name in FUNCTIONS:
            give(read, grad * Value(f"{name}_slope", read.width, (value,)))
        case name, _:
            assert name == "number", name


def _total(value: Value, contributions: list[Contribution]) -> Value | None:
    """Sum the contributions to a value's gradient; None if there are none."""
    if not contributions:
        return None
    bounds = sorted({0, value.width, *(bound for start, stop, _ in contributions for bound in (start, stop))})
    parts = []
    for start, stop in pairwise(bounds):
        total: Value | None = None
        for first, last, grad in contributions:
            if first <= start and stop <= last:
                piece = rows(grad, start - first, stop - first)
                total = piece if total is None else total + piece
        parts.append(total or Value("number", stop - start))
    return parts[0] if len(parts) == 1 else concatenate(*parts)
