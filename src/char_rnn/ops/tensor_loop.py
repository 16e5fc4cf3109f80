"""A cell's loop over time and its derived backward pass in PyTorch: on any device, in any type.

Dimensions: B batch, T time, H hidden; tensors of all steps are time-major.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from char_rnn.cells import EPSILON, Loop, Value, derive, evaluate
from char_rnn.ops.equations import Gradients, Results, Tape, matrix_of, operations


def forward(loop: Loop, given: Results, products: torch.dtype | None, *, keeps: bool) -> Tape:
    """Run all steps.

    Args:
        loop: Loop of a cell.
        given: The loop's sequences and updates, (T, B, width), constants, (width,), states, (B, H), and matrices by
            name.
        products: Type to multiply matrices in; None for their own.
        keeps: Whether to save values for the backward pass.
    """
    kept = derive(loop).kept if keeps else ()
    deviations: dict[Value, Tensor] = {}
    known = _operations(_cast(loop, given, products), products, deviations)
    constants = {value: given[value] for value in loop.constants}
    state = [given[value] for value in loop.states]
    states, rows, of_norms = [state], [], []
    by_step = (*loop.sequences, *loop.updates)
    for values in _steps([given[value] for value in by_step]):
        results: Results = {**constants, **dict(zip(loop.states, state, strict=True))}
        results.update(zip(by_step, values, strict=True))
        evaluate(loop.values, results, known)
        state = [results[value] for value in loop.after]
        states.append(state)
        rows.append([results[value] for value in kept])
        of_norms.append([deviations[value] for value in kept if value.op == "normalize"])
    return Tape(*(list(map(torch.stack, zip(*group, strict=True))) for group in (states, rows, of_norms)))


def backward(
    loop: Loop, given: Results, tape: Tape, grads: Sequence[Tensor], products: torch.dtype | None
) -> Gradients:
    """Run all steps backward.

    Args:
        loop: Loop of a cell.
        given: As for :func:`forward`, with those sequences that the backward pass reads.
        tape: Result of :func:`forward`.
        grads: Gradients of the output, (T, B, H), and of the other parts of the last state, (B, H).
        products: As for :func:`forward`.
    """
    backward = derive(loop)
    norms = [value for value in backward.kept if value.op == "normalize"]
    deviations: dict[Value, Tensor] = {}
    known = _operations(_cast(loop, given, products), products, deviations)
    by_step = [value for value in (*loop.sequences, *loop.updates) if value in given]
    names = (*by_step, *loop.states, *backward.kept)
    buffers = [given[value] for value in by_step] + [part[:-1] for part in tape.states] + tape.kept
    wanted, constants = backward.rows, {value: given[value] for value in loop.constants}
    sums: dict[Value, Any] = {grad: 0 for grad in backward.of_constants if grad is not None}
    of_output, *state = grads
    state = [torch.zeros_like(state[0] if state else of_output[0]), *state]
    rows: list[list[Tensor]] = []
    for of_step, *values in reversed(list(_steps([of_output, *buffers, *tape.deviations]))):
        results: Results = {**constants, **dict(zip(names, values, strict=False))}
        deviations.update(zip(norms, values[len(names) :], strict=True))
        results.update(zip(backward.given, state, strict=True))
        results[backward.output] = of_step
        evaluate(backward.values, results, known)
        like = state[0]
        found = [0.0 if grad is None else results[grad] for grad in backward.of_states]
        state = [each if isinstance(each, Tensor) else torch.full_like(like, each) for each in found]
        rows.append([results[grad] for grad in wanted])
        sums = {grad: total + results[grad].sum(0) for grad, total in sums.items()}
    stacked = dict(zip(wanted, (torch.stack(each[::-1]) for each in zip(*rows, strict=True)), strict=True))
    return Gradients(state, stacked, sums)


def _steps(buffers: Sequence[Tensor]) -> Any:
    """Iterate over time-major buffers together. Unbinding makes all views in one call, cheaper than slicing."""
    return zip(*(buffer.unbind() for buffer in buffers), strict=True)


def _cast(loop: Loop, given: Results, products: torch.dtype | None) -> dict[str, Tensor]:
    return {name: given[name] if products is None else given[name].to(products) for name in loop.matrices}


def _operations(
    matrices: dict[str, Tensor], products: torch.dtype | None, deviations: dict[Value, Tensor]
) -> dict[str, Callable[..., Any]]:
    """Return the operations of equations and derivatives; a normalization writes `deviations`, its derivative reads."""

    def multiplied(read: Tensor, matrix: Tensor) -> Tensor:
        return read @ matrix if products is None else (read.to(products) @ matrix).to(read.dtype)

    def normalize(value: Value, rows: Tensor) -> Tensor:
        normalized, _, deviations[value] = torch.native_layer_norm(rows, rows.shape[-1:], None, None, EPSILON)
        return normalized

    def normalize_backward(value: Value, grad: Tensor, normalized: Tensor) -> Tensor:
        of_mean = grad.mean(-1, keepdim=True)
        of_scale = (grad * normalized).mean(-1, keepdim=True)
        return (grad - of_mean - normalized * of_scale) * deviations[value.inputs[1]]

    return {
        **operations(matrices),
        "product": lambda value, read: multiplied(read, matrix_of(value, matrices).t()),
        "product_backward": lambda value, grad: multiplied(grad, matrix_of(value, matrices)),
        "normalize": normalize,
        "normalize_backward": normalize_backward,
        "sigmoid_slope": lambda _, s: torch.addcmul(s, s, s, value=-1),
        "tanh_slope": lambda _, t: 1 - t * t,
        "relu_slope": lambda _, r: (r > 0).to(r.dtype),
        "softplus_slope": lambda _, s: -torch.expm1(-s),
    }
