"""The fast path of the simple layer with layer normalization inside the cell and zoneout, in the manner of the LSTM's.

Dimensions: B batch, T time, I input size, H hidden; buffers are time-major, so that a step is one block of memory.

With a for what comes from the input, N for the normalization and k for zoneout's update, and with d for "gradient of
the loss with respect to" and N^T for the way back through N::

    h~ = tanh(N(a + U h) + b)           d h~ = k d h'               d (a + U h) = N^T(d h~ (1 - h~^2))
    h' = h + k (h~ - h)                 d h  = (1 - k) d h' + U^T d (a + U h)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from char_rnn.ops.cell_options import (
    Moments,
    RNNNorm,
    Update,
    grad_of_gain,
    grad_of_weight,
    normalized,
    over_steps,
    product_back,
    tanh_back,
    zoneout_over_time,
)
from char_rnn.ops.time_major import by_step, by_step_back


def rnn_options(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: RNNNorm | None,
    zoneout: Update | None,
) -> tuple[Tensor, Tensor]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.rnn.rnn_reference`."""
    (gain,) = norm or (None,)
    bias = bias_ih + bias_hh
    arguments = F.linear(x.transpose(0, 1), weight_ih, bias if gain is None else None)
    k = zoneout_over_time(zoneout, arguments)
    output: Tensor = _RNN.apply(arguments, hidden, weight_hh, gain, bias if gain is not None else None, k)  # type: ignore[no-untyped-call]
    return output, output[:, -1]


class _RNN(torch.autograd.Function):
    """(T, B, H) a, (B, H) state, (H, H) U, (H,) gain and bias where there is normalization, update to the output."""

    @staticmethod
    def forward(
        ctx: Any,
        arguments: Tensor,
        hidden: Tensor,
        weight_hh: Tensor,
        gain: Tensor | None,
        bias: Tensor | None,
        k: Tensor | None,
    ) -> Tensor:
        states = hidden.new_empty(len(arguments) + 1, *hidden.shape)
        states[0] = hidden
        new_states = states[1:] if k is None else torch.empty_like(arguments)
        rows = None if gain is None else torch.empty_like(arguments)
        moments: Moments = []
        for a, h, h_next, new, update, rows_t in by_step(arguments, states[:-1], states[1:], new_states, k, rows):
            argument = torch.addmm(a, h, weight_hh.t(), out=rows_t)
            torch.tanh(argument if gain is None else normalized(argument, gain, bias, moments), out=new)
            if update is not None:
                torch.lerp(h, new, update, out=h_next)
        ctx.save_for_backward(weight_hh, gain, states, new_states, k, rows, *over_steps(moments))
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight_hh, gain, states, *kept = ctx.saved_tensors
        new_states, _, *of_norm = kept
        grads = torch.empty_like(new_states)
        grads_rows = grads if gain is None else torch.empty_like(grads)
        grad = torch.zeros_like(states[0])
        buffers = (grad_output.transpose(0, 1), grads, grads_rows, *kept)
        for from_loss, grad_a, grad_rows, new, k, *of_step in by_step_back(*buffers):
            grad.add_(from_loss)
            tanh_back(grad if k is None else grad * k, new, grad_input=grad_a)
            product_back(grad_a, gain, *of_step, out=grad_rows)
            grad = (
                grad_rows @ weight_hh
                if k is None
                else torch.addmm(torch.addcmul(grad, grad, k, value=-1), grad_rows, weight_hh)
            )
        grad_weight = grad_of_weight(grads_rows, states[:-1])
        grad_gain = grad_bias = None
        if gain is not None:
            grad_gain, grad_bias = grad_of_gain(grads, gain, *of_norm), grads.sum((0, 1))
        return grads_rows, grad, grad_weight, grad_gain, grad_bias, None
