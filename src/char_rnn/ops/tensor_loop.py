"""A cell's loop over time and its derived backward pass, in tensor operations: on any device, in any type.

Dimensions: B batch, T time, H hidden; what is kept is time-major.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from char_rnn.cells import EPSILON, Backward, Loop, Value, evaluate
from char_rnn.ops.equations import Results, matrix_of, operations


class Tape(NamedTuple):
    """What the forward pass keeps.

    Attributes:
        states: Each part of the state, before every step and after the last, (T + 1, B, H).
        kept: The values that :class:`char_rnn.cells.Backward` names, (T, B, width).
        deviations: Of the normalizations among them, the reciprocals of the standard deviations, (T, B, 1).
    """

    states: list[Tensor]
    kept: list[Tensor]
    deviations: list[Tensor]


class Gradients(NamedTuple):
    """What the backward pass makes.

    Attributes:
        states: Of each part of the state before the first step, (B, H).
        sequences: By value, (T, B, width), of the loop's sequences and products.
        constants: By value, (width,), summed over steps and sequences.
    """

    states: list[Tensor]
    sequences: dict[Value, Tensor]
    constants: dict[Value, Tensor]


def forward(
    loop: Loop,
    kept: Sequence[Value],
    given: Results,
    products: torch.dtype | None,
) -> Tape:
    """Run all steps.

    Args:
        loop: Of a cell.
        kept: What to keep.
        given: The loop's sequences and updates, (T, B, width), constants, (width,), states, (B, H), and
            matrices by name.
        products: The type to multiply matrices in; None for their own.
    """
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
    loop: Loop,
    backward: Backward,
    given: Results,
    tape: Tape,
    grads: Sequence[Tensor],
    products: torch.dtype | None,
) -> Gradients:
    """Run all steps backward.

    Args:
        loop: Of a cell.
        backward: Its backward pass.
        given: As for :func:`forward`; the sequences that the backward pass reads, alone.
        tape: What :func:`forward` kept.
        grads: Of the output, (T, B, H), and of the other parts of the last state, (B, H).
        products: As for :func:`forward`.
    """
    norms = [value for value in backward.kept if value.op == "normalize"]
    deviations: dict[Value, Tensor] = {}
    known = _operations(_cast(loop, given, products), products, deviations)
    by_step = [value for value in (*loop.sequences, *loop.updates) if value in given]
    buffers = [given[value] for value in by_step]
    names = (*by_step, *loop.states, *backward.kept)
    buffers += [part[:-1] for part in tape.states] + tape.kept
    wanted = backward.rows
    constants = {value: given[value] for value in loop.constants}
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
        state = [torch.zeros_like(like) if grad is None else _full(results[grad], like) for grad in backward.of_states]
        rows.append([results[grad] for grad in wanted])
        sums = {grad: total + results[grad].sum(0) for grad, total in sums.items()}
    stacked = dict(zip(wanted, (torch.stack(each[::-1]) for each in zip(*rows, strict=True)), strict=True))
    return Gradients(state, stacked, sums)


def _steps(buffers: Sequence[Tensor]) -> Any:
    """Go through time-major buffers together. Unbinding makes all views in one call, cheaper than slicing each step."""
    return zip(*(buffer.unbind() for buffer in buffers), strict=True)


def _full(result: Any, like: Tensor) -> Tensor:
    return result if isinstance(result, Tensor) else torch.full_like(like, result)


def _cast(loop: Loop, given: Results, products: torch.dtype | None) -> dict[str, Tensor]:
    return {name: given[name] if products is None else given[name].to(products) for name in loop.matrices}


def _operations(
    matrices: dict[str, Tensor], products: torch.dtype | None, deviations: dict[Value, Tensor]
) -> dict[str, Callable[..., Any]]:
    """Return those of the equations and of derivatives; `deviations` are noted by a normalization, and then read."""

    def multiplied(read: Tensor, matrix: Tensor) -> Tensor:
        return read @ matrix if products is None else (read.to(products) @ matrix).to(read.dtype)

    def normalize(value: Value, rows: Tensor) -> Tensor:
        normalized, _, deviations[value] = torch.native_layer_norm(rows, rows.shape[-1:], None, None, EPSILON)
        return normalized

    def normalize_back(value: Value, grad: Tensor, normalized: Tensor) -> Tensor:
        of_mean = grad.mean(-1, keepdim=True)
        of_scale = (grad * normalized).mean(-1, keepdim=True)
        return (grad - of_mean - normalized * of_scale) * deviations[value.inputs[1]]

    return {
        **operations(matrices),
        "product": lambda value, read: multiplied(read, matrix_of(value, matrices).t()),
        "product_back": lambda value, grad: multiplied(grad, matrix_of(value, matrices)),
        "normalize": normalize,
        "normalize_back": normalize_back,
        "sigmoid_slope": lambda _, s: torch.addcmul(s, s, s, value=-1),
        "tanh_slope": lambda _, t: 1 - t * t,
        "relu_slope": lambda _, r: (r > 0).to(r.dtype),
    }
