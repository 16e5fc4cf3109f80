"""The fast path of the LSTM with mogrifier gates, on the steps of :mod:`char_rnn.ops.lstm_options`.

Dimensions: B batch, T time, I input size, H hidden, R rounds; buffers are time-major.

The products with the input are inside the loop here, since the state changes the input. The rounds go through values v
that begin with x and h, as in the paper, and the cell reads the last two. Round i, from 0, with M its matrix::

    w = 2 sigmoid(M v_{i+1})            v_{i+2} = w v_i

With d for "gradient of the loss with respect to", and m the argument of the sigmoid::

    d m = d v_{i+2} v_i w (1 - w / 2)   d v_{i+1} += M^T d m        d v_i = d v_{i+2} w
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.ops.cell_options import (
    LSTMNorm,
    Moments,
    Update,
    grad_of_gain,
    grad_of_weight,
    over_steps,
    product,
    product_back,
    zoneout_over_time,
)
from char_rnn.ops.lstm_options import State, Tape, doubled, grads_of_norm, run_cell, run_cell_back
from char_rnn.ops.time_major import by_step


def lstm_mogrifier(
    x: Tensor,
    hidden: State,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: LSTMNorm | None,
    zoneout: tuple[Update, Update] | None,
    mogrifier: Sequence[Tensor],
) -> tuple[Tensor, State]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.lstm.lstm_reference`."""
    weight_ih, weight_hh, bias, norm = doubled(weight_ih, weight_hh, bias_ih + bias_hh, norm)
    inputs = x.transpose(0, 1).contiguous()
    updates = [zoneout_over_time(k, inputs) for k in zoneout or (None, None)]
    output, c = _Mogrifier.apply(
        inputs, *hidden, weight_ih, weight_hh, bias, *(norm or (None,) * 4), *updates, *mogrifier
    )  # type: ignore[no-untyped-call]
    return output, (output[:, -1], c)


class _Mogrifier(torch.autograd.Function):
    """(T, B, I) input, (B, H) h and c, weights, gains, biases, updates, matrices to (B, T, H) output and the last c."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        h: Tensor,
        c: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        gain_ih: Tensor | None,
        gain_hh: Tensor | None,
        gain_c: Tensor | None,
        bias_c: Tensor | None,
        k_h: Tensor | None,
        k_c: Tensor | None,
        *matrices: Tensor,
    ) -> tuple[Tensor, Tensor]:
        states, cells, tape = Tape.of(h, c, k_h, k_c, normalizes=gain_hh is not None, time=len(inputs))
        values = [inputs, states[:-1]]
        values += [torch.empty_like(values[number % 2]) for number in range(len(matrices))]
        factors = [torch.empty_like(value) for value in values[2:]]
        products = None if gain_ih is None else torch.empty_like(tape.gates)
        moments_ih: Moments = []
        moments_hh: Moments = []
        moments_c: Moments = []
        buffers = (products, states[1:], cells[1:], *tape)
        views = zip(by_step(*values), by_step(*factors), by_step(*buffers), strict=True)
        for v, w, (rows, h_next, c_next, *kept) in views:
            step = Tape(*kept)
            run_rounds(v, w, matrices)
            x_read, h_read = last_x_and_h(v)
            a = product(x_read, weight_ih, bias, gain_ih, rows, moments_ih)
            torch.sigmoid(product(h_read, weight_hh, a, gain_hh, step.product, moments_hh), out=step.gates)
            run_cell(step, gain_c, bias_c, moments_c, h_next, c_next)
        of_input = (products, *over_steps(moments_ih))
        groups = (matrices, values, factors, of_input, tape.with_moments(moments_hh, moments_c))
        ctx.save_for_backward(weight_ih, weight_hh, gain_ih, gain_hh, gain_c, *chain(*groups))
        ctx.sizes = [len(group) for group in groups]
        return states[1:].transpose(0, 1), cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        weight_ih, weight_hh, gain_ih, gain_hh, gain_c, *kept = ctx.saved_tensors
        matrices, values, factors, of_input, of_steps = grouped(kept, ctx.sizes)
        tape = Tape(*of_steps)
        grads, grads_shown, grads_x, *grads_m = map(torch.empty_like, (tape.gates, tape.squashed, values[0], *factors))
        grads_ih, grads_hh = (grads if gain_hh is None else torch.empty_like(grads) for _ in range(2))
        grad_h, grad_c = torch.zeros_like(grad_c), grad_c.clone()
        from_loss = grad_output.transpose(0, 1)
        views = zip(
            zip(by_step(*values), by_step(*factors), by_step(*grads_m), strict=True),
            by_step(grads, grads_ih, grads_hh, grads_shown, grads_x, from_loss),
            by_step(*of_input, *tape),
            strict=True,
        )
        for (v, w, m), (grad_a, grad_ih, grad_hh, grad_shown, grad_x, grad_output_t), of_step in reversed(list(views)):
            of_input_t, step = of_step[:3], Tape(*of_step[3:])
            run_cell_back(step, gain_c, grad_h.add_(grad_output_t), grad_c, grad_a, grad_shown)
            product_back(grad_a, gain_ih, *of_input_t, out=grad_ih)
            product_back(grad_a, gain_hh, step.product, step.mean, step.rstd, out=grad_hh)
            from_x, from_h = run_rounds_back(v, w, m, matrices, grad_ih @ weight_ih, grad_hh @ weight_hh)
            grad_x.copy_(from_x)
            grad_h = from_h if step.k_h is None else grad_h.add_(from_h)
        x_read, h_read = last_x_and_h(values)
        grads_of_weights = grad_of_weight(grads_ih, x_read), grad_of_weight(grads_hh, h_read), grads.sum((0, 1))
        grad_gain_ih = None if gain_ih is None else grad_of_gain(grads, gain_ih, *of_input)
        grads_of_gains = grad_gain_ih, *grads_of_norm(tape, grads, grads_shown, gain_hh, gain_c)
        grads_of_matrices = map(grad_of_weight, grads_m, values[1:-1])
        return grads_x, grad_h, grad_c, *grads_of_weights, *grads_of_gains, None, None, *grads_of_matrices


def grouped(tensors: Iterable[Any], sizes: Iterable[int]) -> Iterator[list[Any]]:
    """Cut what was saved into lists of these sizes."""
    tensors = iter(tensors)
    return (list(islice(tensors, size)) for size in sizes)


def last_x_and_h(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return what the cell reads: the last two of values that are x's and h's in turn."""
    older, newer = values[-2:]
    return (newer, older) if len(values) % 2 else (older, newer)


def run_rounds(values: Sequence[Tensor], factors: Sequence[Tensor], matrices: Sequence[Tensor]) -> None:
    """Fill in the factors w of a step and, from the third on, its values."""
    for gated, source, new, w, matrix in zip(values, values[1:], values[2:], factors, matrices, strict=False):
        torch.mm(source, matrix.t(), out=w).sigmoid_()
        torch.mul(gated, w.add_(w), out=new)


def run_rounds_back(
    values: Sequence[Tensor],
    factors: Sequence[Tensor],
    grads_m: Sequence[Tensor],
    matrices: Sequence[Tensor],
    grad_x: Tensor,
    grad_h: Tensor,
) -> tuple[Tensor, Tensor]:
    """Go back through :func:`run_rounds`, in place, and fill in d m.

    Args:
        values: R + 2 of them, (B, I) and (B, H) in turn.
        factors: w of R rounds, of the shapes of the values they make.
        grads_m: likewise.
        matrices: R of them, (I, H) and (H, I) in turn.
        grad_x: (B, I), the gradient of what the cell reads of x.
        grad_h: (B, H), likewise of h.

    Returns:
        The gradients of the first two values, x and h.
    """
    older, newer = (grad_h, grad_x) if len(matrices) % 2 else (grad_x, grad_h)
    for gated, w, m, matrix in reversed(list(zip(values, factors, grads_m, matrices, strict=False))):
        torch.mul(newer, gated, out=m).mul_(torch.addcmul(w, w, w, value=-0.5))
        older, newer = newer.mul_(w), older.addmm_(m, matrix)
    return older, newer
