"""A cell's equations in PyTorch, on any device and in any type, and the readable loop over them.

Dimensions: B batch, T time, I input size, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from char_rnn.cells import EPSILON, Cell, Loop, Step, Value, evaluate, trace

Parameters = Mapping[str, Tensor]
State = tuple[Tensor, ...]
Results = dict[Any, Any]
"""Known tensors by value; matrices by name."""

Update = Tensor | float
"""How far zoneout lets a part of the state go from its old value (0) to the cell's new one (1).

In training a (T, B, H) tensor of zeros and ones, in the state's type, one with the probability 1 - p; in evaluation the
number 1 - p. The updates of all parts of the state are tensors, or all are numbers.
"""


class Tape(NamedTuple):
    """Saved for backward by the forward pass of a loop; time-major.

    Attributes:
        states: Each part of the state, before every step and after the last, (T + 1, B, H).
        kept: The values that :class:`char_rnn.cells.Backward` names, (T, B, width).
        deviations: Reciprocals of the standard deviations of the normalizations among them, (T, B, 1).
    """

    states: list[Tensor]
    kept: list[Tensor]
    deviations: list[Tensor]


class Gradients(NamedTuple):
    """Results of the backward pass of a loop.

    Attributes:
        states: Of each part of the state before the first step, (B, H).
        sequences: By value, of the loop's sequences and products, (T, B, width).
        constants: By value, (width,), summed over steps and sequences.
    """

    states: list[Tensor]
    sequences: dict[Value, Tensor]
    constants: dict[Value, Tensor]


def operations(parameters: Parameters) -> dict[str, Callable[..., Any]]:
    """Return the operations of :mod:`char_rnn.cells.language` for a layer's parameters, on tensors (..., width)."""
    return {
        "vector": lambda value: parameters[value.name],
        "number": lambda value: value.number,
        "product": lambda value, read: F.linear(read, matrix_of(value, parameters)),
        "add": lambda _, left, right: left + right,
        "subtract": lambda _, left, right: left - right,
        "multiply": lambda _, left, right: left * right,
        "sigmoid": lambda _, a: torch.sigmoid(a),
        "tanh": lambda _, a: torch.tanh(a),
        "relu": lambda _, a: torch.relu(a),
        "softplus": lambda _, a: torch.logaddexp(a, torch.zeros_like(a)),
        "slice": lambda value, whole: whole.narrow(-1, value.start, value.width),
        "join": _joined,
        "normalize": lambda _, rows: F.layer_norm(rows, rows.shape[-1:], None, None, EPSILON),
    }


def matrix_of(value: Value, parameters: Parameters) -> Tensor:
    """Return the rows of a parameter that a product, or its backward pass, multiplies with."""
    matrix = parameters[value.name]
    count = value.width if value.op == "product" else value.inputs[0].width
    return matrix if len(matrix) == count else matrix.narrow(0, value.start, count)


def _joined(value: Value, *parts: Any) -> Tensor:
    like = max((part for part in parts if isinstance(part, Tensor)), key=Tensor.dim)
    shapes = [(*like.shape[:-1], each.width) for each in value.inputs]
    filled = [
        part.expand(shape) if isinstance(part, Tensor) else like.new_full(shape, part)
        for part, shape in zip(parts, shapes, strict=True)
    ]
    return torch.cat(filled, -1)


def traced(cell: Cell, parameters: Parameters, zoneout: Sequence[Update] | None = None) -> Step:
    """Return the graph of a step of a layer with these parameters."""
    rows, inputs = parameters["weight_ih"].shape
    rounds = sum(name.startswith("mogrifier_") for name in parameters)
    normed = any(name in parameters for name in cell.normalization)
    how: Any = False
    if zoneout is not None:
        how = True if isinstance(zoneout[0], Tensor) else tuple(zoneout)
    return trace(cell, inputs, rows // cell.gates, normed=normed, mogrifier=rounds, zoneout=how)


def reference_layer(
    cell: Cell, x: Tensor, state: State, parameters: Parameters, zoneout: Sequence[Update] | None = None
) -> tuple[Tensor, State]:
    """Run one layer step by step, as the cell's equations read. All other ways to run a layer are tested against this.

    Args:
        cell: Cell.
        x: Input, (B, T, I), T at least 1.
        state: The parts of the state before the first step, each (B, H).
        parameters: Parameters of the layer by name, with the shapes of :meth:`char_rnn.cells.Cell.shapes`.
        zoneout: How far each step updates each part of the state; None for no zoneout.

    Returns:
        The output of every step, (B, T, H), and the state after the last.
    """
    step, known, outputs = traced(cell, parameters, zoneout), operations(parameters), []
    updates: Any = zoneout
    for time, x_t in enumerate(x.unbind(1)):
        known["x"] = lambda _, x_t=x_t: x_t
        known["state"] = lambda value, state=state: state[step.state.index(value.name)]
        known["update"] = lambda value, time=time: updates[step.state.index(value.name)][time]
        results: Results = {}
        evaluate(step.values, results, known)
        state = tuple(results[value] for value in step.after)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def before_loop(loop: Loop, x: Tensor, parameters: Parameters) -> Results:
    """Compute a loop's sequences, (..., width), from an input (..., I), and its constants, (width,)."""
    results: Results = {value: x for value in (*loop.before, *loop.sequences) if value.op == "x"}
    known, biased = operations(parameters), _with_bias(loop)
    products = {value.inputs[0] for value in biased}
    for value in loop.before:
        if value in biased:
            product, bias = value.inputs
            results[value] = F.linear(results[product.inputs[0]], matrix_of(product, parameters), results[bias])
        elif value not in products and value not in results:
            evaluate([value], results, known)
    return results


@lru_cache(maxsize=256)
def _with_bias(loop: Loop) -> frozenset[Value]:
    """Return the sums of a constant and a product used nowhere else: PyTorch computes both in one function."""
    uses = [*loop.after, *(each for value in (*loop.before, *loop.values) for each in value.inputs)]

    def reads_x(value: Value) -> bool:
        return value.op == "x" or any(map(reads_x, value.inputs))

    return frozenset(
        value
        for value in loop.before
        if value.op == "add"
        and value.inputs[0].op == "product"
        and uses.count(value.inputs[0]) == 1
        and not reads_x(value.inputs[1])
    )
