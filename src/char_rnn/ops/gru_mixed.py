"""The GRU with its matrix products in a low-precision type; see :mod:`char_rnn.ops.mixed`.

Dimensions: B batch, T time, I input size, H hidden; buffers are time-major, so that a step is one block of memory.

With W x for the products with the input, the two places of the reset gate differ in q alone, which is what the
candidate's recurrent product reads (before) or makes (after)::

    r, z = sigmoid(W_rz x + U_rz h + b_rz)      before: q = r h    n = tanh(W_n x + U_n q + b_in + b_hn)
    h'   = (1 - z) n + z h                      after:  q = U_n h  n = tanh(W_n x + r (q + b_hn) + b_in)

With d for "gradient of the loss with respect to", and a_r, a_z, a_n the arguments of the three functions::

    d a_n = d h' (1 - z) (1 - n^2)              d a_z = d h' (h - n) z (1 - z)
    before: d q = U_n^T d a_n                   d a_r = d q h r (1 - r)
            d h = d h' z + d q r + U_rz^T d a_rz
    after:  d q = d a_n r                       d a_r = d a_n (q + b_hn) r (1 - r)
            d h = d h' z + U_n^T d q + U_rz^T d a_rz
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.ops.mixed import from_next
from char_rnn.ops.time_major import by_step, by_step_back


def gru_mixed(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    products: torch.dtype,
    *,
    before: bool,
) -> tuple[Tensor, Tensor]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.gru.gru_reference`, but for types.

    The output is of the type `products`, that of the matrix products; the state is of the weights'. `before` says on
    which side of the recurrent product the reset gate is applied.
    """
    with torch.autocast(x.device.type, enabled=False):
        output: tuple[Tensor, Tensor] = _GRUMixed.apply(  # type: ignore[no-untyped-call]
            x, hidden, weight_ih, weight_hh, bias_ih, bias_hh, products, before
        )
    return output


class _GRUMixed(torch.autograd.Function):
    """(B, T, I) input, (B, H) state, (3H, I) and (3H, H) weights, two (3H,) biases to (B, T, H) output, last state."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        hidden: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        products: torch.dtype,
        before: bool,
    ) -> tuple[Tensor, Tensor]:
        batch, time, _ = x.shape
        inputs = x.transpose(0, 1).flatten(0, 1).to(products)
        weight_ih, weight_hh = weight_ih.to(products), weight_hh.to(products)
        arguments = torch.mm(inputs, weight_ih.t()).view(time, batch, -1)
        exact, states = hidden.new_empty(time + 1, *hidden.shape), arguments.new_empty(time + 1, *hidden.shape)
        exact[0], states[0] = hidden, hidden
        read, candidates = torch.empty_like(states[1:]), torch.empty_like(exact[1:])
        run_steps(arguments, exact, states, read, candidates, weight_hh, bias_ih, bias_hh, before)
        ctx.save_for_backward(
            inputs, arguments, exact, states, read, candidates, weight_ih, weight_hh, bias_ih, bias_hh
        )
        ctx.before, ctx.x_dtype = before, x.dtype
        return states[1:].transpose(0, 1), exact[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_hidden: Tensor) -> tuple[Tensor | None, ...]:
        inputs, arguments, exact, states, read, candidates, weight_ih, weight_hh, bias_ih, bias_hh = ctx.saved_tensors
        needs_x, _, needs_weight_ih, needs_weight_hh, *_ = ctx.needs_input_grad
        grads, grads_q = torch.empty_like(arguments), torch.empty_like(read)
        grad_hidden, grad_bias_ih = run_steps_back(
            grads,
            grads_q,
            arguments,
            exact[:-1],
            read,
            candidates,
            from_next(grad_output.transpose(0, 1)),
            grad_hidden + grad_output[:, -1],
            weight_hh,
            bias_ih,
            bias_hh,
            ctx.before,
        )
        flat, flat_q = grads.flatten(0, 1), grads_q.flatten(0, 1)
        grad_x = (flat @ weight_ih).view(*grads.shape[:2], -1).transpose(0, 1).to(ctx.x_dtype) if needs_x else None
        grad_weight_ih = (flat.t() @ inputs).to(exact.dtype) if needs_weight_ih else None
        grad_weight_hh, grad_bias_hh = None, grad_bias_ih
        if needs_weight_hh:
            n_grads, n_reads = (_rz_n(flat)[1], read) if ctx.before else (flat_q, states[:-1])
            grad_rz = _rz_n(flat)[0].t() @ states[:-1].flatten(0, 1)
            grad_weight_hh = torch.cat([grad_rz, n_grads.t() @ n_reads.flatten(0, 1)]).to(exact.dtype)
        if not ctx.before:
            grad_bias_hh = torch.cat([_rz_n(grad_bias_ih)[0], flat_q.sum(0, dtype=exact.dtype)])
        return grad_x, grad_hidden, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh, None, None


def run_steps(
    arguments: Tensor,
    exact: Tensor,
    states: Tensor,
    read: Tensor,
    candidates: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    before: bool,
) -> None:
    """Run the recurrence in place.

    Args:
        arguments: (T, B, 3H), holds W x; what does not involve r is added to it.
        exact: (T + 1, B, H), holds the state before the first step at 0 and is filled.
        states: (T + 1, B, H), likewise in the type of the products.
        read: (T, B, H), filled with q.
        candidates: (T, B, H), filled with n.
        weight_hh: U, (3H, H).
        bias_ih: (3H,).
        bias_hh: (3H,).
        before: Whether the reset gate is applied before the recurrent product.
    """
    (weight_rz, weight_n), (bias_rz, bias_n) = _rz_n(weight_hh.t()), _rz_n(bias_ih + bias_hh)
    bias_in, bias_hn = _rz_n(bias_ih)[1], _rz_n(bias_hh)[1]
    rz = torch.empty_like(_rz_n(arguments[0])[0], dtype=exact.dtype, memory_format=torch.contiguous_format)
    r, z = rz.chunk(2, -1)
    buffers = (*_rz_n(arguments), exact[:-1], exact[1:], states[:-1], states[1:], read, candidates)
    for a_rz, a_n, h, h_next, rounded, rounded_next, q, n in by_step(*buffers):
        rz.copy_(a_rz.addmm_(rounded, weight_rz)).add_(bias_rz).sigmoid_()
        if before:
            torch.mul(r, h, out=q)
            n.copy_(a_n.addmm_(q, weight_n)).add_(bias_n)
        else:
            torch.mm(rounded, weight_n, out=q)
            n.copy_(q).add_(bias_hn).mul_(r).add_(a_n).add_(bias_in)
        rounded_next.copy_(torch.lerp(n.tanh_(), h, z, out=h_next))


def run_steps_back(
    grads: Tensor,
    grads_q: Tensor,
    arguments: Tensor,
    exact: Tensor,
    read: Tensor,
    candidates: Tensor,
    from_loss: Tensor,
    grad_hidden: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    before: bool,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence backwards; return the gradients of the state before the first step, (B, H), and b_ih, (3H,).

    Args:
        grads: (T, B, 3H), filled with d a.
        grads_q: (T, B, H), filled with d q.
        arguments: (T, B, 3H), as :func:`run_steps` leaves them.
        exact: (T, B, H), the state before every step.
        read: (T, B, H), q of every step.
        candidates: (T, B, H), n of every step.
        from_loss: (T, B, H), what the loss itself adds to d h of every step.
        grad_hidden: (B, H), d h' of the last step.
        weight_hh: U, (3H, H).
        bias_ih: (3H,).
        bias_hh: (3H,).
        before: Whether the reset gate is applied before the recurrent product.
    """
    (weight_rz, weight_n), bias_rz = _rz_n(weight_hh, 0), _rz_n(bias_ih + bias_hh)[0]
    bias_hn = _rz_n(bias_hh)[1]
    grad_a = torch.empty_like(arguments[0], dtype=exact.dtype)
    grad_rz, grad_n = _rz_n(grad_a)
    rz, slopes = torch.empty_like(grad_rz, memory_format=torch.contiguous_format), torch.empty_like(grad_rz)
    (r, z), (grad_r, grad_z) = rz.chunk(2, -1), grad_rz.chunk(2, -1)
    grad_bias = torch.zeros_like(grad_a)
    buffers = (*_rz_n(grads), grads_q, _rz_n(arguments)[0], exact, read, candidates, from_loss)
    for rounded_rz, rounded_n, grad_q, a_rz, h, q, n, grad_before in by_step_back(*buffers):
        rz.copy_(a_rz).add_(bias_rz).sigmoid_()
        grad = grad_hidden * z
        torch.mul(grad_hidden, h - n, out=grad_z)
        torch.sub(grad_hidden, grad, out=grad_n).addcmul_(grad_n * n, n, value=-1)
        rounded_n.copy_(grad_n)
        if before:
            torch.mm(rounded_n, weight_n, out=grad_q)
            grad.add_(grad_r.copy_(grad_q) * r)
            grad_r.mul_(h)
        else:
            torch.mul(grad_n, r, out=grad_q)
            grad.add_(grad_q @ weight_n)
            grad_r.copy_(q).add_(bias_hn).mul_(grad_n)
        grad_rz.mul_(torch.addcmul(rz, rz, rz, value=-1, out=slopes))
        grad_bias.add_(grad_a)
        grad_hidden = grad.add_(torch.addmm(grad_before, rounded_rz.copy_(grad_rz), weight_rz))
    return grad_hidden, grad_bias.sum(0)


def _rz_n(blocks: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    """Return the r and z blocks, of r, z, n side by side, as one view, and the n block."""
    size = blocks.shape[dim] // 3
    return blocks.narrow(dim, 0, 2 * size), blocks.narrow(dim, 2 * size, size)
