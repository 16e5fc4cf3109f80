"""Replaces sums of a product and a value in memory by products that start from that value: the addition is free.

Such a product has two inputs: the operand of the matrix and the initial value of its sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from char_rnn.cells import Value, ordered


def with_starts(wanted: Sequence[Value], given: Collection[Value]) -> list[Value]:
    """Return values equal to those wanted, with such products in place of sums where possible.

    A product of which only parts are used is cut into products of these parts.

    Args:
        wanted: Values to compute.
        given: Values in memory.
    """
    order = ordered(wanted, given)
    users: dict[Value, list[Value]] = defaultdict(list)
    for value in order:
        for each in value.inputs:
            users[each].append(value)
    new: dict[Value, Value] = {value: value for value in given}
    kept = {*given, *wanted}
    for value in order:
        inputs = tuple(new[each] for each in value.inputs)
        if value.op == "slice" and value.inputs[0] not in kept and _is_cut(value.inputs[0], users[value.inputs[0]]):
            new[value] = replace(inputs[0], width=value.width, start=inputs[0].start + value.start)
        else:
            sums = _with_start(value, users, new, kept) if value.op == "add" else None
            new[value] = sums or (value if inputs == value.inputs else replace(value, inputs=inputs))
    return [new[value] for value in wanted]


def _is_cut(value: Value, parts: list[Value]) -> bool:
    """Whether a value is a product of which only disjoint slices are used."""
    are_slices = all(each.op == "slice" for each in parts)
    return value.op == "product" and are_slices and sum(each.width for each in parts) <= value.width


def _with_start(
    value: Value, users: dict[Value, list[Value]], new: dict[Value, Value], kept: Collection[Value]
) -> Value | None:
    """Return a sum as a product with a start; None without a product that nothing else needs."""
    for product, start in (value.inputs[::-1], value.inputs):
        made, begin = new[product], new[start]
        is_free = made.op == "product" and len(made.inputs) == 1 and len(users[product]) == 1 and product not in kept
        if is_free and _is_in_memory(begin, kept):
            return replace(made, inputs=(*made.inputs, begin))
    return None


def _is_in_memory(value: Value, given: Collection[Value]) -> bool:
    while value.op == "slice" and value not in given:
        value = value.inputs[0]
    return value in given or value.op in ("product", "normalize")
