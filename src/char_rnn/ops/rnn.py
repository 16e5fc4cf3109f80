"""The simple (Elman, tanh) recurrent layer.

Dimensions: B batch, T time, I input size, H hidden.
Source: Elman (1990), "Finding structure in time"; the weight layout is that of ``torch.nn.RNN``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from char_rnn.ops.cell_options import RNNNorm, Update, normalize, updates, with_options
from char_rnn.ops.mixed import in_bfloat16, products_dtype
from char_rnn.ops.rnn_mixed import rnn_mixed
from char_rnn.ops.rnn_options import rnn_options


def rnn_reference(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: RNNNorm | None = None,
    zoneout: Update | None = None,
) -> tuple[Tensor, Tensor]:
    """Run one tanh layer, step by step, as its equation reads.

    Args:
        x: Input, (B, T, I), T at least 1.
        hidden: State before the first step, (B, H).
        weight_ih: (H, I).
        weight_hh: (H, H).
        bias_ih: (H,).
        bias_hh: (H,).
        norm: Layer normalization inside the cell, of the sum of the products; None for none.
        zoneout: How far each step updates the state: (T, B, H) or a number; None for no zoneout.

    Returns:
        The output of every step, (B, T, H), and the state after the last, (B, H).
    """
    outputs = []
    for x_t, k in zip(x.unbind(1), updates(zoneout), strict=False):
        if norm is None:
            argument = F.linear(x_t, weight_ih, bias_ih) + F.linear(hidden, weight_hh, bias_hh)
        else:
            argument = normalize(F.linear(x_t, weight_ih) + F.linear(hidden, weight_hh), norm.gain, bias_ih + bias_hh)
        hidden = torch.lerp(hidden, torch.tanh(argument), k)
        outputs.append(hidden)
    return torch.stack(outputs, 1), hidden


def rnn(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: RNNNorm | None = None,
    zoneout: Update | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute what :func:`rnn_reference` computes, with PyTorch's own kernels (cuDNN on CUDA).

    Under autocast on the CPU, with those of :mod:`char_rnn.ops.rnn_mixed`; with `norm` and `zoneout` those of
    :mod:`char_rnn.ops.rnn_options`, which compute in the weights' type, whatever autocast says. Both can be
    differentiated once.
    """
    if norm is not None or zoneout is not None:
        arguments = (x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        return with_options(rnn_options, rnn_reference, *arguments, norm=norm, zoneout=zoneout)
    products = products_dtype(weight_hh)
    if products is not None and weight_hh.is_cpu:
        return rnn_mixed(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh, products)
    if products == torch.bfloat16:
        output, last = in_bfloat16(rnn, x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        return output, last
    weights = [weight_ih, weight_hh, bias_ih, bias_hh]
    train = torch.is_grad_enabled()
    output, last = torch.rnn_tanh(x, hidden.unsqueeze(0), weights, True, 1, 0.0, train, False, True)
    return output, last.squeeze(0)
