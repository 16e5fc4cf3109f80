"""Runs a recurrent layer, by the fastest way there is for it.

Dimensions: B batch, T time, I input size, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.cells import Backward, Cell, Loop, derive
from char_rnn.ops import derived
from char_rnn.ops.derived import Tape
from char_rnn.ops.equations import Parameters, Results, State, Update, before_loop, traced


def run(
    cell: Cell,
    x: Tensor,
    state: State,
    parameters: Parameters,
    zoneout: Sequence[Update] | None = None,
    products: torch.dtype | None = None,
) -> tuple[Tensor, State]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.equations.reference`."""
    loop = traced(cell, parameters, zoneout).loop
    results = before_loop(loop, x.transpose(0, 1), parameters)
    dtype = state[0].dtype
    tensors = [results[value].to(dtype) for value in (*loop.sequences, *loop.constants)]
    tensors += [parameters[name] for name in loop.matrices]
    updates = zoneout if loop.updates else ()
    made = _Run.apply(loop, products, *tensors, *state, *(updates or ()))  # type: ignore[no-untyped-call]
    output, *others = made
    return output.transpose(0, 1), (output[-1], *others)


class _Run(torch.autograd.Function):
    """The loop over time: its sequences, constants, matrices, states and updates to the output and the last state."""

    @staticmethod
    def forward(ctx: Any, loop: Loop, products: torch.dtype | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        backward = derive(loop)
        given: Results = dict(zip(_names(loop), tensors, strict=True))
        tape = derived.forth(loop, backward.kept, given, products)
        read = _read_back(loop, backward)
        ctx.loop, ctx.products = loop, products
        ctx.counts = len(read), len(tape.states), len(tape.kept)
        ctx.save_for_backward(*(given[name] for name in read), *tape.states, *tape.kept, *tape.deviations)
        output, *others = tape.states
        return output[1:], *(part[-1].clone() for part in others)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        loop: Loop = ctx.loop
        backward = derive(loop)
        saved, read = list(ctx.saved_tensors), _read_back(loop, backward)
        groups = []
        for count in ctx.counts:
            groups.append(saved[:count])
            saved = saved[count:]
        given: Results = dict(zip(read, groups[0], strict=True))
        tape = Tape(groups[1], groups[2], saved)
        found = derived.back(loop, backward, given, tape, grads, ctx.products)
        matrices = _grads_of_matrices(loop, backward, given, tape, found.sequences, ctx.products)
        sequences = [None if grad is None else found.sequences[grad] for grad in backward.of_sequences]
        constants = [None if grad is None else found.constants[grad] for grad in backward.of_constants]
        return None, None, *sequences, *constants, *matrices, *found.states, *(None for _ in loop.updates)


def _names(loop: Loop) -> tuple[Any, ...]:
    return *loop.sequences, *loop.constants, *loop.matrices, *loop.states, *loop.updates


def _read_back(loop: Loop, backward: Backward) -> list[Any]:
    """Return what the way back reads of what the loop is given; the states are on the tape."""
    used = {each for value in backward.values for each in value.inputs}
    used.update(product.inputs[0] for product, _ in backward.of_products)
    sequences = [value for value in (*loop.sequences, *loop.updates) if value in used]
    return [*sequences, *loop.constants, *loop.matrices]


def _grads_of_matrices(
    loop: Loop,
    backward: Backward,
    given: Results,
    tape: Tape,
    grads: dict[Any, Tensor],
    products: torch.dtype | None,
) -> list[Tensor | None]:
    """Return the gradient of each matrix: of every product's rows, one product over all steps."""
    read = {**given, **dict(zip(backward.kept, tape.kept, strict=True))}
    read.update(zip(loop.states, (part[:-1] for part in tape.states), strict=True))
    found: dict[str, Any] = {}
    for product, grad in backward.of_products:
        left, right = grads[grad].flatten(0, 1), read[product.inputs[0]].flatten(0, 1)
        if products is not None:
            left, right = left.to(products), right.to(products)
        rows, whole = (left.t() @ right).to(tape.states[0].dtype), given[product.name]
        if product.width == len(whole):
            found[product.name] = found.get(product.name, 0) + rows
        else:
            into = found.setdefault(product.name, torch.zeros_like(whole))
            into.narrow(0, product.start, product.width).add_(rows)
    return [found.get(name) for name in loop.matrices]
