"""The long short-term memory layer.

Dimensions: B batch, T time, I input size, H hidden.
Source: Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000) and no peepholes; the weight
layout and the gate order i, f, g, o are those of ``torch.nn.LSTM``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from char_rnn.ops.cell_options import LSTMNorm, Update, linear, mogrify, normalize, updates, with_options
from char_rnn.ops.lstm_mixed import lstm_mixed
from char_rnn.ops.lstm_mogrifier import lstm_mogrifier
from char_rnn.ops.lstm_options import lstm_options
from char_rnn.ops.mixed import in_bfloat16, products_dtype

State = tuple[Tensor, Tensor]

# On the CPU torch.lstm packs the weights anew at every call. Measured for H = 128 to 512 and B = 1, that costs more
# than it gains below about this many steps, up to 30 times more for a single one.
_FEWEST_STEPS_WORTH_PACKING = 5


def lstm_reference(
    x: Tensor,
    hidden: State,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: LSTMNorm | None = None,
    zoneout: tuple[Update, Update] | None = None,
    mogrifier: Sequence[Tensor] = (),
) -> tuple[Tensor, State]:
    """Run one LSTM layer, step by step, as its equations read.

    Args:
        x: Input, (B, T, I), T at least 1.
        hidden: State before the first step: h and c, each (B, H).
        weight_ih: (4H, I), rows in the order i, f, g, o.
        weight_hh: (4H, H), likewise.
        bias_ih: (4H,), likewise.
        bias_hh: (4H,), likewise.
        norm: Layer normalization inside the cell, of the two products and of the cell on its way out; None for none.
        zoneout: How far each step updates h and c, in this order: (T, B, H) or a number; None for no zoneout.
        mogrifier: Matrices of the rounds in which x and h gate each other before each step: Q, (I, H), and R, (H, I),
            in turn; none for no rounds.

    Returns:
        The output of every step, (B, T, H), and the state after the last: h and c, each (B, H).
    """
    h, c = hidden
    gain_ih, gain_hh, gain_c, bias_c = norm or (None,) * 4
    outputs = []
    for x_t, k_h, k_c in zip(x.unbind(1), *map(updates, zoneout or (None, None)), strict=False):
        x_read, h_read = mogrify(x_t, h, mogrifier)
        gates = linear(x_read, weight_ih, bias_ih, gain_ih) + linear(h_read, weight_hh, bias_hh, gain_hh)
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
        new_c = torch.sigmoid(forget_gate) * c + torch.sigmoid(input_gate) * torch.tanh(candidate)
        new_h = torch.sigmoid(output_gate) * torch.tanh(normalize(new_c, gain_c, bias_c))
        h, c = torch.lerp(h, new_h, k_h), torch.lerp(c, new_c, k_c)
        outputs.append(h)
    return torch.stack(outputs, 1), (h, c)


def lstm(
    x: Tensor,
    hidden: State,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: LSTMNorm | None = None,
    zoneout: tuple[Update, Update] | None = None,
    mogrifier: Sequence[Tensor] = (),
) -> tuple[Tensor, State]:
    """Compute what :func:`lstm_reference` computes, with PyTorch's own kernels (oneDNN on the CPU, cuDNN on CUDA).

    Under autocast on the CPU, with those of :mod:`char_rnn.ops.lstm_mixed`; with `norm` and `zoneout` those of
    :mod:`char_rnn.ops.lstm_options`, with `mogrifier` of :mod:`char_rnn.ops.lstm_mogrifier`, which compute in the
    weights' type, whatever autocast says. All of these can be differentiated once.
    """
    arguments = (x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    if mogrifier:
        return with_options(lstm_mogrifier, lstm_reference, *arguments, norm=norm, zoneout=zoneout, mogrifier=mogrifier)
    if norm is not None or zoneout is not None:
        return with_options(lstm_options, lstm_reference, *arguments, norm=norm, zoneout=zoneout)
    products = products_dtype(weight_hh)
    if products is not None and weight_hh.is_cpu:
        return lstm_mixed(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh, products)
    if products == torch.bfloat16:
        output, h, c = in_bfloat16(_lstm_flat, x, *hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        return output, (h, c)
    train = torch.is_grad_enabled()
    if not train and x.device.type == "cpu" and x.shape[1] < _FEWEST_STEPS_WORTH_PACKING:
        return _lstm_steps(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
    h, c = hidden
    weights = [weight_ih, weight_hh, bias_ih, bias_hh]
    output, h, c = torch.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)), weights, True, 1, 0.0, train, False, True)
    return output, (h.squeeze(0), c.squeeze(0))


def _lstm_flat(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    output, (h, c) = lstm(x, (h, c), *weights)
    return output, h, c


def _lstm_steps(
    x: Tensor, hidden: State, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, State]:
    outputs = []
    for x_t in x.unbind(1):
        hidden = torch.lstm_cell(x_t, hidden, weight_ih, weight_hh, bias_ih, bias_hh)
        outputs.append(hidden[0])
    return torch.stack(outputs, 1), hidden
