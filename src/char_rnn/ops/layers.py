"""Runs a recurrent layer in the fastest available way.

Dimensions: B batch, T time, V vocabulary, I input size, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from char_rnn.cells import GRU, LSTM, RNN, Cell, Loop, Step, derive, loop_of
from char_rnn.ops import kernel_loop, scan, tensor_loop
from char_rnn.ops.equations import Parameters, Results, State, Tape, Update, before_loop, reference_layer, traced

_PYTORCH: dict[Cell, Callable[..., Any]] = {LSTM(): torch.lstm, GRU("after"): torch.gru, RNN(): torch.rnn_tanh}
"""PyTorch's functions: oneDNN on the CPU, cuDNN on CUDA."""

_FEWEST_STEPS = 5
"""For fewer steps without gradients on the CPU, the reference is faster than packing the weights."""

_CACHE = 1 << 20
"""Bytes of matrices that stay in a core's own cache from step to step."""


def run_layer(
    cell: Cell,
    x: Tensor,
    state: State,
    parameters: Parameters,
    zoneout: Sequence[Update] | None = None,
    *,
    symbols: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Run one layer; see :func:`char_rnn.ops.equations.reference_layer` for other arguments and the results.

    It runs in the training kernels, if they are built and can (float32 or, under autocast, bfloat16 on the CPU); else
    in PyTorch's function for the cell, if there is one; else by :mod:`char_rnn.ops.scan`, if that can and pays; else in
    the loop of :mod:`char_rnn.ops.tensor_loop`. All but PyTorch's functions can be differentiated only once. Under
    autocast the state, the gates and all sums stay in the parameters' type.

    With `symbols`, (B, T), from 0 to V - 1, unchecked, x is a table of the vector of each symbol, (V, I), and products
    with these vectors are computed once for each symbol.
    """
    weight = parameters["weight_ih"]
    products = _products(weight)
    step = traced(cell, parameters, zoneout)
    loop = step.loop if symbols is not None else _fastest(step, parameters)
    by_kernels = kernel_loop.can_run(loop, [*parameters.values(), *state], products)
    if not by_kernels and symbols is not None:
        x, symbols = F.embedding(symbols.t(), x).transpose(0, 1), None
    few = symbols is None and x.shape[1] < (_FEWEST_STEPS if weight.is_cpu else 2)
    if few and not torch.is_grad_enabled():
        with _without_autocast(weight.device):
            return reference_layer(cell, x.to(weight.dtype), state, parameters, zoneout)
    plain = zoneout is None and len(parameters) == len(cell.shapes(1, 1)) and cell in _PYTORCH
    if not by_kernels and plain and (products is None or not weight.is_cpu):
        return _by_pytorch(_PYTORCH[cell], x, state, parameters, products)
    way, loop = (kernel_loop, loop) if by_kernels else (tensor_loop, step.loop)
    tensors = _tensors(loop, x, state, parameters, zoneout if loop.updates else (), products, of_time=symbols is None)
    if not by_kernels and scan.pays(x) and scan.terms(loop) is not None:
        output, *others = scan.run(loop, _given(loop, tensors, None), parameters)
        return output.transpose(0, 1), (output[-1], *(part[-1] for part in others))
    return _by_loop(way, loop, tensors, symbols, products)


def fits_kernels(cell: Cell, parameters: Parameters, *, zoneout: bool = False) -> bool:
    """Whether the training kernels, if they are built, can run a layer with these parameters in float32 on the CPU."""
    step = traced(cell, parameters, [torch.ones(())] * len(cell.state) if zoneout else None)
    loops = step.loop, _fastest(step, parameters)
    return all(kernel_loop.can_run(loop, list(parameters.values()), None) for loop in loops)


def _fastest(step: Step, parameters: Parameters) -> Loop:
    """Return the loop for the kernels, with the products of the input in it if all matrices stay in a core's cache."""
    size = sum(parameter.numel() for parameter in parameters.values()) * 4
    return loop_of(step, "input" if size <= _CACHE else "products")


def _products(weight: Tensor) -> torch.dtype | None:
    """Return the type that autocast requests for products with a weight; None for its own."""
    device = weight.device.type
    if weight.dtype != torch.float32 or not torch.amp.is_autocast_available(device):
        return None
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context without autocast, which some devices, such as meta, do not have."""
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def _by_pytorch(
    function: Callable[..., Any], x: Tensor, state: State, parameters: Parameters, products: torch.dtype | None
) -> tuple[Tensor, State]:
    """Run PyTorch's function; `products` is a half precision, or None for the type of the parameters.

    Autocast of these functions on CUDA casts to float16, whatever type is requested; so the cast is done here.
    """
    weights = [parameters[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    with _without_autocast(x.device):
        x, *rest = (tensor if products is None else tensor.to(products) for tensor in (x, *state, *weights))
        hidden = tuple(part.unsqueeze(0) for part in rest[: len(state)])
        start = hidden if len(hidden) > 1 else hidden[0]
        train = torch.is_grad_enabled()
        output, *after = function(x, start, rest[len(state) :], True, 1, 0.0, train, False, True)
    return output, tuple(part.squeeze(0) for part in after)


def _tensors(
    loop: Loop,
    x: Tensor,
    state: State,
    parameters: Parameters,
    updates: Sequence[Update] | None,
    products: torch.dtype | None,
    *,
    of_time: bool,
) -> list[Any]:
    """Compute the loop's sequences and constants; return them with its matrices, states and updates.

    `of_time` is whether x is the input of every step, not a table of symbols.
    """
    dtype = parameters["weight_ih"].dtype
    casts = of_time and products is not None
    with torch.autocast(x.device.type, products) if casts else _without_autocast(x.device):
        results = before_loop(loop, x.transpose(0, 1) if of_time else x.to(dtype), parameters)
    tensors = [results[value].to(dtype) for value in (*loop.sequences, *loop.constants)]
    return [*tensors, *(parameters[name] for name in loop.matrices), *state, *(updates or ())]


def _by_loop(
    way: Any, loop: Loop, tensors: Sequence[Any], symbols: Tensor | None, products: torch.dtype | None
) -> tuple[Tensor, State]:
    """Run the loop by `way`: kernel_loop or tensor_loop."""
    times = None if symbols is None else symbols.t().contiguous().long()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        output, *others = _Loop.apply(loop, products, way, times, *tensors)  # type: ignore[no-untyped-call]
    else:
        tape = way.forward(loop, _given(loop, tensors, times), products, keeps=False)
        output, *others = tape.states[0][1:], *(part[-1] for part in tape.states[1:])
    return output.transpose(0, 1), (output[-1], *others)


class _Loop(torch.autograd.Function):
    """The loop over time: from its sequences, constants, matrices, states and updates to the output and last state."""

    @staticmethod
    def forward(
        ctx: Any, loop: Loop, products: torch.dtype | None, way: Any, symbols: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        given = _given(loop, tensors, symbols)
        tape: Tape = way.forward(loop, given, products, keeps=True)
        read = _read_backward(loop)
        ctx.loop, ctx.products, ctx.way = loop, products, way
        ctx.counts = len(read), len(tape.states), len(tape.kept)
        ctx.table_sizes = [len(given[value]) for value in loop.sequences]
        ctx.save_for_backward(*(given[name] for name in read), *tape.states, *tape.kept, *tape.deviations)
        output, *others = tape.states
        return output[1:], *(part[-1].clone() for part in others)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        loop: Loop = ctx.loop
        backward = derive(loop)
        saved, groups = list(ctx.saved_tensors), []
        for count in ctx.counts:
            groups.append(saved[:count])
            saved = saved[count:]
        given: Results = dict(zip(_read_backward(loop), groups[0], strict=True))
        tape = Tape(groups[1], groups[2], saved)
        found = ctx.way.backward(loop, given, tape, grads, ctx.products)
        matrices = _grads_of_matrices(loop, given, tape, found.sequences, ctx.products)
        sequences = [None if grad is None else found.sequences[grad] for grad in backward.of_sequences]
        if given["symbols"] is not None:
            sequences = [
                None if rows is None else kernel_loop.sum_by_symbol(rows, given["symbols"], size)
                for rows, size in zip(sequences, ctx.table_sizes, strict=True)
            ]
        constants = [None if grad is None else found.constants[grad] for grad in backward.of_constants]
        return None, None, None, None, *sequences, *constants, *matrices, *found.states, *(None for _ in loop.updates)


def _given(loop: Loop, tensors: Iterable[Tensor], symbols: Tensor | None) -> Results:
    names = *loop.sequences, *loop.constants, *loop.matrices, *loop.states, *loop.updates
    return {**dict(zip(names, tensors, strict=True)), "symbols": symbols}


@lru_cache(maxsize=256)
def _read_backward(loop: Loop) -> tuple[Any, ...]:
    """Return what the backward pass reads of the loop's arguments; the states are on the tape."""
    backward = derive(loop)
    used = {each for value in backward.values for each in value.inputs}
    used.update(product.inputs[0] for product, _ in backward.of_products)
    sequences = [value for value in (*loop.sequences, *loop.updates) if value in used]
    return *sequences, *loop.constants, *loop.matrices, "symbols"


def _grads_of_matrices(
    loop: Loop, given: Results, tape: Tape, grads: dict[Any, Tensor], products: torch.dtype | None
) -> list[Tensor | None]:
    """Return the gradient of each matrix: one product over all steps for the rows of each of its products."""
    backward = derive(loop)
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
