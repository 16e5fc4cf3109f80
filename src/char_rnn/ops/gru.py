"""The gated recurrent unit, with the reset gate on either side of the recurrent product.

Dimensions: B batch, T time, I input size, H hidden.
Sources: Cho et al. (2014), arXiv 1406.1078, and Chung et al. (2014), arXiv 1412.3555, apply the reset gate before
the recurrent product (``reset="before"``); cuDNN and ``torch.nn.GRU`` apply it after (``reset="after"``). The two
are different functions: no mapping of weights makes one of the other. The weight layout and the gate order r, z, n
are those of ``torch.nn.GRU`` for both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from char_rnn.ops.cell_options import GRUNorm, Update, linear, updates, with_options
from char_rnn.ops.gru_before import gru_before
from char_rnn.ops.gru_mixed import gru_mixed
from char_rnn.ops.gru_options import Reset, gru_options, rz_n
from char_rnn.ops.mixed import in_bfloat16, products_dtype


def gru_reference(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    reset: Reset = "after",
    norm: GRUNorm | None = None,
    zoneout: Update | None = None,
) -> tuple[Tensor, Tensor]:
    """Run one GRU layer, step by step, as its equations read.

    Args:
        x: Input, (B, T, I), T at least 1.
        hidden: State before the first step, (B, H).
        weight_ih: (3H, I), rows in the order r, z, n.
        weight_hh: (3H, H), likewise.
        bias_ih: (3H,), likewise.
        bias_hh: (3H,), likewise.
        reset: Whether the reset gate is applied after the recurrent product or before it.
        norm: Layer normalization inside the cell, of every product; None for none.
        zoneout: How far each step updates the state: (T, B, H) or a number; None for no zoneout.

    Returns:
        The output of every step, (B, T, H), and the state after the last, (B, H).

    Raises:
        ValueError: `reset` is neither "after" nor "before".
    """
    _check_reset(reset)
    gain_ih, gain_hh = norm or (None, None)
    input_rz, input_n = rz_n(weight_ih, bias_ih, gain_ih)
    hidden_rz, hidden_n = rz_n(weight_hh, bias_hh, gain_hh)
    outputs = []
    for x_t, k in zip(x.unbind(1), updates(zoneout), strict=False):
        r, z = torch.sigmoid(linear(x_t, *input_rz) + linear(hidden, *hidden_rz)).chunk(2, 1)
        if reset == "before":
            n = torch.tanh(linear(x_t, *input_n) + linear(r * hidden, *hidden_n))
        else:
            n = torch.tanh(linear(x_t, *input_n) + r * linear(hidden, *hidden_n))
        hidden = torch.lerp(hidden, (1 - z) * n + z * hidden, k)
        outputs.append(hidden)
    return torch.stack(outputs, 1), hidden


def gru(
    x: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    reset: Reset = "after",
    norm: GRUNorm | None = None,
    zoneout: Update | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute what :func:`gru_reference` computes, fast.

    ``after`` runs PyTorch's own kernels (cuDNN on CUDA), ``before`` those of :mod:`char_rnn.ops.gru_before`, which
    can be differentiated once, as can those of :mod:`char_rnn.ops.gru_mixed`, under autocast: for both on the CPU,
    for ``before`` everywhere. With `norm` and `zoneout` both run those of :mod:`char_rnn.ops.gru_options`, which can
    be differentiated once and compute in the weights' type, whatever autocast says.
    """
    _check_reset(reset)
    if norm is not None or zoneout is not None:
        arguments = (x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        return with_options(gru_options, gru_reference, *arguments, reset=reset, norm=norm, zoneout=zoneout)
    products = products_dtype(weight_hh)
    if products is not None and (weight_hh.is_cpu or reset == "before"):
        return gru_mixed(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh, products, before=reset == "before")
    if products == torch.bfloat16:
        output, last = in_bfloat16(gru, x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        return output, last
    if reset == "before":
        if x.shape[1] == 1 and not torch.is_grad_enabled():  # A single step gains nothing from buffers over all steps.
            return _step_before(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        return gru_before(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    weights = [weight_ih, weight_hh, bias_ih, bias_hh]
    train = torch.is_grad_enabled()
    output, last = torch.gru(x, hidden.unsqueeze(0), weights, True, 1, 0.0, train, False, True)
    return output, last.squeeze(0)


def _check_reset(reset: str) -> None:
    if reset not in ("after", "before"):
        raise ValueError(f'reset: got {reset!r}; give "after" or "before"')


def _step_before(
    x: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor]:
    input_r, input_z, input_n = F.linear(x[:, 0], weight_ih, bias_ih).chunk(3, 1)
    hidden_r, hidden_z, hidden_n = zip(weight_hh.chunk(3), bias_hh.chunk(3), strict=True)
    r = torch.sigmoid(input_r + F.linear(hidden, *hidden_r))
    z = torch.sigmoid(input_z + F.linear(hidden, *hidden_z))
    n = torch.tanh(input_n + F.linear(r * hidden, *hidden_n))
    hidden = (1 - z) * n + z * hidden
    return hidden.unsqueeze(1), hidden
