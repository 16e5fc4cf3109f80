"""The LSTM with its matrix products in a low-precision type; see :mod:`char_rnn.ops.mixed`.

Dimensions: B batch, T time, I input size, H hidden; buffers are time-major, so that a step is one block of memory.

With tanh(a) = 2 sigmoid(2a) - 1, one sigmoid serves all four gates: the candidate's rows of weights and bias are
doubled, which rounds nothing, and s stands for what the sigmoid makes of them::

    i, f, s, o = sigmoid(W x + U h + b)        c' = f c + i (2s - 1)        h' = o tanh(c')

With d for "gradient of the loss with respect to", and a_i, a_f, a_s, a_o the arguments of the sigmoid::

    d c'  += d h' o (1 - tanh(c')^2)
    d a_i  = d c' (2s - 1) i (1 - i)            d a_s = d c' 2i s (1 - s)
    d a_f  = d c' c f (1 - f)                   d a_o = d h' tanh(c') o (1 - o)
    d c    = d c' f                             d h   = U^T d a
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.ops.mixed import from_next
from char_rnn.ops.time_major import by_step, by_step_back

State = tuple[Tensor, Tensor]


def lstm_mixed(
    x: Tensor,
    hidden: State,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    products: torch.dtype,
) -> tuple[Tensor, State]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.lstm.lstm_reference`, but for types.

    The output is of the type `products`, that of the matrix products; the state is of the weights'.
    """
    with torch.autocast(x.device.type, enabled=False):
        bias = bias_ih + bias_hh
        output, h, c = _LSTMMixed.apply(x, *hidden, weight_ih, weight_hh, bias, products)  # type: ignore[no-untyped-call]
    return output, (h, c)


class _LSTMMixed(torch.autograd.Function):
    """(B, T, I) input, (B, H) h and c, (4H, I) and (4H, H) weights, (4H,) bias to (B, T, H) output, last h and c."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        products: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, time, _ = x.shape
        inputs = x.transpose(0, 1).flatten(0, 1).to(products)
        weight_ih, weight_hh, bias = doubled(weight_ih, products), doubled(weight_hh, products), doubled(bias)
        arguments = torch.mm(inputs, weight_ih.t()).view(time, batch, -1)
        states, cells = arguments.new_empty(time + 1, *h.shape), bias.new_empty(time + 1, *c.shape)
        states[0], cells[0] = h, c
        squashed = torch.empty_like(cells[1:])
        h = run_steps(arguments, states, cells, squashed, weight_hh, bias)
        ctx.save_for_backward(inputs, arguments, states, cells, squashed, weight_ih, weight_hh, bias)
        ctx.x_dtype = x.dtype
        return states[1:].transpose(0, 1), h, cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        inputs, arguments, states, cells, squashed, weight_ih, weight_hh, bias = ctx.saved_tensors
        needs_x, _, _, needs_weight_ih, needs_weight_hh, *_ = ctx.needs_input_grad
        grads, grad_h, grad_c = torch.empty_like(arguments), grad_h + grad_output[:, -1], grad_c.clone()
        from_loss = from_next(grad_output.transpose(0, 1))
        grad_bias = run_steps_back(grads, arguments, cells, squashed, from_loss, grad_h, grad_c, weight_hh, bias)
        flat = grads.flatten(0, 1)
        grad_x = (flat @ weight_ih).view(*grads.shape[:2], -1).transpose(0, 1).to(ctx.x_dtype) if needs_x else None
        grad_weight_ih = doubled(flat.t() @ inputs, bias.dtype) if needs_weight_ih else None
        grad_weight_hh = doubled(flat.t() @ states[:-1].flatten(0, 1), bias.dtype) if needs_weight_hh else None
        return grad_x, grad_h, grad_c, grad_weight_ih, grad_weight_hh, doubled(grad_bias), None


def run_steps(
    arguments: Tensor, states: Tensor, cells: Tensor, squashed: Tensor, weight_hh: Tensor, bias: Tensor
) -> Tensor:
    """Run the recurrence in place and return the last h unrounded, (B, H).

    Args:
        arguments: (T, B, 4H), holds W x and becomes W x + U h.
        states: (T + 1, B, H), holds h before the first step at 0 and is filled.
        cells: (T + 1, B, H), likewise with c.
        squashed: (T, B, H), filled with tanh(c').
        weight_hh: U, (4H, H).
        bias: b, (4H,).
    """
    gates = torch.empty_like(arguments[0], dtype=bias.dtype)
    i, f, s, o = gates.chunk(4, -1)
    for a, h, h_next, c, c_next, tanh_c in by_step(arguments, states[:-1], states[1:], cells[:-1], cells[1:], squashed):
        gates.copy_(a.addmm_(h, weight_hh.t())).add_(bias).sigmoid_()
        torch.mul(f, c, out=c_next).addcmul_(i, s, value=2).sub_(i)
        torch.mul(o, torch.tanh(c_next, out=tanh_c), out=h_next)
    return o * squashed[-1]


def run_steps_back(
    grads: Tensor,
    arguments: Tensor,
    cells: Tensor,
    squashed: Tensor,
    from_loss: Tensor,
    grad_h: Tensor,
    grad_c: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
) -> Tensor:
    """Run the recurrence backwards in place and return the gradient of the bias, (4H,).

    Args:
        grads: (T, B, 4H), filled with d a.
        arguments: (T, B, 4H), W x + U h.
        cells: (T + 1, B, H), c before every step, and the last.
        squashed: (T, B, H), tanh(c') of every step.
        from_loss: (T, B, H), what the loss itself adds to d h of every step.
        grad_h: (B, H), d h' of the last step, becomes d h of the first.
        grad_c: (B, H), likewise, without what comes through h'.
        weight_hh: U, (4H, H).
        bias: b, (4H,).
    """
    gates, slopes, grad_a = (torch.empty_like(arguments[0], dtype=bias.dtype) for _ in range(3))
    i, f, s, o = gates.chunk(4, -1)
    grad_i, grad_f, grad_s, grad_o = grad_a.chunk(4, -1)
    grad_bias = torch.zeros_like(gates)
    for grad, a, c, tanh_c, grad_before in by_step_back(grads, arguments, cells[:-1], squashed, from_loss):
        gates.copy_(a).add_(bias).sigmoid_()
        torch.mul(grad_h, tanh_c, out=grad_o)
        grad_c.add_(grad_h.mul_(o)).addcmul_(grad_h.mul_(tanh_c), tanh_c, value=-1)
        torch.mul(grad_c, c, out=grad_f)
        torch.mul(torch.mul(grad_c, 2, out=grad_i), i, out=grad_s)
        grad_i.mul_(s).sub_(grad_c)
        grad_c.mul_(f)
        grad_bias.add_(grad_a.mul_(torch.addcmul(gates, gates, gates, value=-1, out=slopes)))
        grad_h.copy_(torch.addmm(grad_before, grad.copy_(grad_a), weight_hh))
    return grad_bias.sum(0)


def doubled(blocks: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy of four blocks of rows, in another type where one is given, with the candidate's times two."""
    copy = blocks.to(dtype or blocks.dtype, copy=True)
    copy.chunk(4)[2].mul_(2)
    return copy
