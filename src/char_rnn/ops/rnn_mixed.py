"""The simple tanh layer with its matrix products in a low-precision type; see :mod:`char_rnn.ops.mixed`.

Dimensions: B batch, T time, I input size, H hidden; buffers are time-major, so that a step is one block of memory.

With d for "gradient of the loss with respect to", and a the argument of tanh::

    h' = tanh(W x + U h + b)        d a = d h' (1 - h'^2)        d h = U^T d a
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.ops.mixed import from_next
from char_rnn.ops.time_major import by_step, by_step_back


def rnn_mixed(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    products: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.rnn.rnn_reference`, but for types.

    The output is of the type `products`, that of the matrix products; the state is of the weights'.
    """
    with torch.autocast(x.device.type, enabled=False):
        bias = bias_ih + bias_hh
        output: tuple[Tensor, Tensor] = _RNNMixed.apply(x, hidden, weight_ih, weight_hh, bias, products)  # type: ignore[no-untyped-call]
    return output


class _RNNMixed(torch.autograd.Function):
    """(B, T, I) input, (B, H) state, (H, I) and (H, H) weights, (H,) bias to the (B, T, H) output and last state."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        hidden: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        products: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        batch, time, _ = x.shape
        inputs = x.transpose(0, 1).flatten(0, 1).to(products)
        weight_ih, weight_hh = weight_ih.to(products), weight_hh.to(products)
        arguments = torch.mm(inputs, weight_ih.t()).view(time, batch, -1)
        exact, states = hidden.new_empty(arguments.shape), arguments.new_empty(time + 1, *hidden.shape)
        states[0] = hidden
        for a, h, h_next, rounded in by_step(arguments, states[:-1], exact, states[1:]):
            rounded.copy_(h_next.copy_(a.addmm_(h, weight_hh.t())).add_(bias).tanh_())
        ctx.save_for_backward(inputs, exact, states, weight_ih, weight_hh)
        ctx.x_dtype = x.dtype
        return states[1:].transpose(0, 1), exact[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_hidden: Tensor) -> tuple[Tensor | None, ...]:
        inputs, exact, states, weight_ih, weight_hh = ctx.saved_tensors
        needs_x, _, needs_weight_ih, needs_weight_hh, *_ = ctx.needs_input_grad
        grads, grad = torch.empty_like(states[1:]), grad_hidden + grad_output[:, -1]
        grad_bias = torch.zeros_like(grad)
        from_loss = from_next(grad_output.transpose(0, 1))
        for grad_a, h_next, grad_before in by_step_back(grads, exact, from_loss):
            grad.addcmul_(grad * h_next, h_next, value=-1)
            grad_bias.add_(grad)
            grad.copy_(torch.addmm(grad_before, grad_a.copy_(grad), weight_hh))
        flat = grads.flatten(0, 1)
        grad_x = (flat @ weight_ih).view(*grads.shape[:2], -1).transpose(0, 1).to(ctx.x_dtype) if needs_x else None
        grad_weight_ih = (flat.t() @ inputs).to(exact.dtype) if needs_weight_ih else None
        grad_weight_hh = (flat.t() @ states[:-1].flatten(0, 1)).to(exact.dtype) if needs_weight_hh else None
        return grad_x, grad, grad_weight_ih, grad_weight_hh, grad_bias.sum(0), None
