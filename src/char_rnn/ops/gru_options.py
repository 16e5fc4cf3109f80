"""The fast path of the GRU with layer normalization inside the cell and zoneout, in the manner of the LSTM's.

Dimensions: B batch, T time, I input size, H hidden; buffers are time-major, so that a step is one block of memory.

With a for what comes from the input, N for a normalization, h~ for what the cell makes of its state, and k for
zoneout's update, the two places of the reset gate differ in q alone::

    r, z = sigmoid(a_rz + N(U_rz h))    before: q = r h                     n = tanh(a_n + N(U_n q))
    h~   = (1 - z) n + z h              after:  q = N(U_n h) + b_hn         n = tanh(a_n + r q)
    h'   = h + k (h~ - h)

With d for "gradient of the loss with respect to", and N^T for the way back through N::

    d h~  = k d h'                      before: d q = U_n^T N^T(d a_n)      d a_r = d q h r (1 - r)
    d a_n = d h~ (1 - z) (1 - n^2)              d h = d q r + ...
    d a_z = d h~ (h - n) z (1 - z)      after:  d q = d a_n r               d a_r = d a_n q r (1 - r)
                                                d h = U_n^T N^T(d q) + ...

where the dots are (1 - k) d h' + d h~ z + U_rz^T N^T(d a_rz).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.ops.cell_options import (
    GRUNorm,
    Moments,
    Update,
    grad_of_gain,
    grad_of_weight,
    linear,
    over_steps,
    product,
    product_back,
    sigmoid_back,
    tanh_back,
    zoneout_over_time,
)
from char_rnn.ops.time_major import by_step, by_step_back

Reset = Literal["after", "before"]


def gru_options(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    reset: Reset,
    norm: GRUNorm | None,
    zoneout: Update | None,
) -> tuple[Tensor, Tensor]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.gru.gru_reference`."""
    before = reset == "before"
    gain_ih, gain_hh = norm or (None, None)
    (input_rz, bias_rz, gain_rz), (input_n, bias_n, gain_n) = rz_n(weight_ih, bias_ih, gain_ih)
    (hidden_rz, hidden_bias_rz, *gains_rz), (hidden_n, hidden_bias_n, *gains_n) = rz_n(weight_hh, bias_hh, gain_hh)
    inputs = x.transpose(0, 1)
    a_rz = linear(inputs, input_rz, bias_rz + hidden_bias_rz, gain_rz)
    a_n = linear(inputs, input_n, bias_n + hidden_bias_n if before else bias_n, gain_n)
    of_state = (hidden_rz, hidden_n, hidden_bias_n, *gains_rz, *gains_n)
    output: Tensor = _GRU.apply(a_rz, a_n, hidden, *of_state, zoneout_over_time(zoneout, a_n), before)  # type: ignore[no-untyped-call]
    return output, output[:, -1]


class _GRU(torch.autograd.Function):
    """(T, B, 2H) a_rz, (T, B, H) a_n, (B, H) state, U_rz, U_n, b_hn, gains, update to the (B, T, H) output.

    Kept are, of all steps, h before it, r and z, n, q and k, and where U_rz h and U_n q (before) or U_n h (after) are
    normalized, of each in turn itself, the mean and the reciprocal of the standard deviation, (T, B, 1).
    """

    @staticmethod
    def forward(
        ctx: Any,
        a_rz: Tensor,
        a_n: Tensor,
        hidden: Tensor,
        weight_rz: Tensor,
        weight_n: Tensor,
        bias_n: Tensor,
        gain_rz: Tensor | None,
        gain_n: Tensor | None,
        k: Tensor | None,
        before: bool,
    ) -> Tensor:
        states = hidden.new_empty(len(a_n) + 1, *hidden.shape)
        states[0] = hidden
        gates, candidates, read = map(torch.empty_like, (a_rz, a_n, a_n))
        rows = (None, None) if gain_rz is None else (torch.empty_like(a_rz), torch.empty_like(a_n))
        kept = (states[:-1], gates, candidates, read, k)
        moments_rz: Moments = []
        moments_n: Moments = []
        buffers = (a_rz, a_n, states[1:], *rows, *kept)
        for from_input_rz, from_input_n, h_next, rows_rz, rows_n, h, rz, n, q, update in by_step(*buffers):
            torch.sigmoid(product(h, weight_rz, from_input_rz, gain_rz, rows_rz, moments_rz), out=rz)
            r, z = rz.chunk(2, -1)
            if before:
                torch.mul(r, h, out=q)
                torch.tanh(product(q, weight_n, from_input_n, gain_n, rows_n, moments_n), out=n)
            else:
                q.copy_(product(h, weight_n, bias_n, gain_n, rows_n, moments_n))
                torch.tanh(torch.addcmul(from_input_n, r, q), out=n)
            torch.lerp(n, h, z, out=h_next)
            if update is not None:
                torch.lerp(h, h_next, update, out=h_next)
        of_norms = rows[0], *over_steps(moments_rz), rows[1], *over_steps(moments_n)
        ctx.save_for_backward(weight_rz, weight_n, gain_rz, gain_n, *kept, *of_norms)
        ctx.before = before
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight_rz, weight_n, gain_rz, gain_n, *kept = ctx.saved_tensors
        states, gates, candidates, read, _, *of_norms = kept
        grads_rz, grads_n, grads_q = map(torch.empty_like, (gates, candidates, read))
        normalized_n = grads_n if ctx.before else grads_q
        products_rz, products_n = (g if gain_rz is None else torch.empty_like(g) for g in (grads_rz, normalized_n))
        grad = torch.zeros_like(states[0])
        buffers = (grad_output.transpose(0, 1), grads_rz, grads_n, grads_q, products_rz, products_n, *kept)
        for from_loss, grad_rz, grad_n, grad_q, product_rz, product_n, *of_step in by_step_back(*buffers):
            h, rz, n, q, k, *of_norm = of_step
            (r, z), (grad_r, grad_z) = rz.chunk(2, -1), grad_rz.chunk(2, -1)
            grad.add_(from_loss)
            grad_new = grad if k is None else grad * k
            carried = grad_new * z
            tanh_back(grad_new - carried, n, grad_input=grad_n)
            torch.mul(grad_new, h - n, out=grad_z)
            if k is not None:
                carried.add_(grad.sub_(grad_new))
            if ctx.before:
                product_back(grad_n, gain_n, *of_norm[3:], out=product_n)
                torch.mm(product_n, weight_n, out=grad_q)
                torch.mul(grad_q, h, out=grad_r)
                carried.addcmul_(grad_q, r)
            else:
                torch.mul(grad_n, r, out=grad_q)
                torch.mul(grad_n, q, out=grad_r)
                product_back(grad_q, gain_n, *of_norm[3:], out=product_n)
                carried.addmm_(product_n, weight_n)
            sigmoid_back(grad_rz, rz, grad_input=grad_rz)
            product_back(grad_rz, gain_rz, *of_norm[:3], out=product_rz)
            grad = carried.addmm_(product_rz, weight_rz)
        grad_weight_n = grad_of_weight(products_n, read if ctx.before else states)
        of_weights = grad_of_weight(products_rz, states), grad_weight_n, None if ctx.before else grads_q.sum((0, 1))
        of_gains: tuple[Tensor | None, ...] = (None, None)
        if gain_rz is not None:
            grad_gain_rz = grad_of_gain(grads_rz, gain_rz, *of_norms[:3])
            of_gains = grad_gain_rz, grad_of_gain(normalized_n, gain_n, *of_norms[3:])
        return grads_rz, grads_n, grad, *of_weights, *of_gains, None, None


def rz_n(*blocks: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Return the r and z rows of each tensor as one, then those of n; for none, none."""
    for first, number in ((0, 2), (2, 1)):
        yield tuple(t if t is None else t.narrow(0, len(t) // 3 * first, len(t) // 3 * number) for t in blocks)
