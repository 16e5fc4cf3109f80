"""Loops whose only recurrence is h' = a * h + b, element by element: all steps at once in PyTorch, without a loop.

a and b depend on the input, not on the state: minGRU and minLSTM are such cells. Other values of the loop that read h
are computed afterwards, when h is known at every step.

Dimensions: B batch, T time, H hidden; tensors of all steps are time-major.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.cells import Loop, Value, evaluate, ordered
from char_rnn.ops.equations import Parameters, Results, operations


class Terms(NamedTuple):
    """The factor and the addend of a state; None for zeros."""

    factor: Value | None
    addend: Value | None


def pays(x: Tensor) -> bool:
    """Whether this is faster than the loop: where a small operation takes as long as a large one, so not on a CPU."""
    return not x.is_cpu


@lru_cache(maxsize=256)
def terms(loop: Loop) -> tuple[Value, Terms] | None:
    """Return the only state that a loop reads and the terms of its next value; None if there are more or no terms."""
    read = [state for state in loop.states if any(state in value.inputs for value in loop.values)]
    if len(read) != 1:
        return None
    found: dict[Value, Terms | None] = {read[0]: Terms(Value("number", read[0].width, number=1.0), None)}
    for value in loop.values:
        found[value] = _combined(value, [found.get(each, Terms(None, each)) for each in value.inputs])
    after = loop.after[loop.states.index(read[0])]
    of_state = found.get(after, Terms(None, after))
    return None if of_state is None else (read[0], of_state)


def _combined(value: Value, inputs: list[Terms | None]) -> Terms | None:
    """Return the terms of a value from those of its inputs; None if it is not a sum of that form."""
    if all(each is not None and each.factor is None for each in inputs):
        return Terms(None, value)
    if value.op not in ("add", "subtract", "multiply") or None in inputs:
        return None
    left, right = (each for each in inputs if each is not None)
    if value.op == "multiply":
        if left.factor is not None and right.factor is not None:
            return None
        (factor, addend), by = (left, right.addend) if left.factor is not None else (right, left.addend)
        return Terms(_times(factor, by), _times(addend, by))
    of_right = right if value.op == "add" else Terms(*(None if term is None else 0.0 - term for term in right))
    return Terms(_plus(left.factor, of_right.factor), _plus(left.addend, of_right.addend))


def _plus(left: Value | None, right: Value | None) -> Value | None:
    return right if left is None else left if right is None else left + right


def _times(left: Value | None, right: Value | None) -> Value | None:
    return None if left is None or right is None else left * right


def run(loop: Loop, given: Results, parameters: Parameters) -> tuple[Tensor, ...]:
    """Run all steps of a loop that has :func:`terms`, and return each part of the state after every step, (T, B, H).

    `given` has the loop's sequences and updates, (T, B, width), constants, (width,), and states, (B, H).
    """
    found = terms(loop)
    assert found is not None
    state, wanted = found
    results, known = {**given}, operations(parameters)
    del results[state]
    evaluate(ordered([term for term in wanted if term is not None], results), results, known)
    before = given[state]
    time = len(given[loop.sequences[0]])
    factor, addend = (0.0 if term is None else results[term] for term in wanted)
    like = before.expand(time, *before.shape)
    filled = [each if isinstance(each, Tensor) else torch.full_like(like, each) for each in (factor, addend)]
    filled = [each.expand(like.shape) for each in filled]
    after: Tensor = _Recurrence.apply(*filled, before)  # type: ignore[no-untyped-call]
    results[state] = torch.cat([before[None], after[:-1]])
    evaluate(ordered(loop.after, results), results, known)
    return tuple(after if part is state else results[new] for part, new in zip(loop.states, loop.after, strict=True))


class _Recurrence(torch.autograd.Function):
    """h' = factor * h + addend at every step, (T, B, H), from h before the first, (B, H)."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor, addends: Tensor, before: Tensor) -> Tensor:
        first = torch.addcmul(addends[:1], factors[:1], before)
        after = _scan(factors, torch.cat([first, addends[1:]]))
        ctx.save_for_backward(factors, before, after)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        factors, before, after = ctx.saved_tensors
        of_addends = _scan(torch.cat([factors[1:], factors[:1]]).flip(0), grad.flip(0)).flip(0)
        of_factors = of_addends * torch.cat([before[None], after[:-1]])
        return of_factors, of_addends, factors[0] * of_addends[0]


def _scan(factors: Tensor, addends: Tensor) -> Tensor:
    """Return h' = factor * h + addend at every step, from zeros, in log2(T) operations (Hillis and Steele 1986).

    After each operation, the terms of a step are those of the last 1, 2, 4, ... steps together.
    """
    reach = 1
    while reach < len(addends):
        addends = torch.cat([addends[:reach], torch.addcmul(addends[reach:], factors[reach:], addends[:-reach])])
        factors = torch.cat([factors[:reach], factors[reach:] * factors[:-reach]])
        reach *= 2
    return addends
