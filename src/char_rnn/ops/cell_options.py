"""What the options of the cells are made of: layer normalization inside the cell, zoneout, mogrifier gates.

Dimensions: B batch, T time, I input size, H hidden, R rounds of the mogrifier.
Sources: layer normalization, Ba, Kiros and Hinton (2016), arXiv 1607.06450, with the cells of its supplement; zoneout,
Krueger et al. (2017), arXiv 1606.01305; mogrifier, Melis, Kocisky and Blunsom (2020), arXiv 1909.01792.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5

Moments = list[list[Tensor]]
"""The mean and the reciprocal of the standard deviation of the rows of every step, each (B, 1)."""

sigmoid_back: Any = torch.ops.aten.sigmoid_backward.grad_input
tanh_back: Any = torch.ops.aten.tanh_backward.grad_input
_layer_norm_back: Any = torch.ops.aten.native_layer_norm_backward.default

Update = Tensor | float
"""How far zoneout lets a state go from what it was (0) to what the cell makes of it (1).

In training a (T, B, H) tensor of zeros and ones, in the state's type, one with the probability 1 - p; in evaluation the
number 1 - p.
"""


Result = TypeVar("Result")


class LSTMNorm(NamedTuple):
    """The parameters of layer normalization inside an LSTM layer. Gains begin at 1, the bias at 0."""

    gain_ih: Tensor
    """(4H,), of W_ih x, rows in the order i, f, g, o; normalized over all of them."""
    gain_hh: Tensor
    """(4H,), of W_hh h, likewise."""
    gain_c: Tensor
    """(H,), of the cell on its way to the output."""
    bias_c: Tensor
    """(H,), likewise."""


class GRUNorm(NamedTuple):
    """The parameters of layer normalization inside a GRU layer. Gains begin at 1."""

    gain_ih: Tensor
    """(3H,), of W_ih x, rows in the order r, z, n; r and z are normalized together, n alone."""
    gain_hh: Tensor
    """(3H,), of the recurrent products, likewise."""


class RNNNorm(NamedTuple):
    """The parameter of layer normalization inside a simple layer. It begins at 1."""

    gain: Tensor
    """(H,), of W_ih x + W_hh h."""


def with_options(
    fast: Callable[..., Result], reference: Callable[..., Result], x: Tensor, *others: Any, **options: Any
) -> Result:
    """Run a layer with options, in the weights' type, whatever autocast says.

    Args:
        fast: The layer's fast path.
        reference: The loop it is held to, with the same signature. It serves a single step without gradients, which
            gains nothing from buffers over all steps.
        x: Input, (B, T, I), of any type.
        others: State, weights and biases.
        options: Of the layer, by name.
    """
    with torch.autocast(x.device.type, enabled=False):
        layer = reference if x.shape[1] == 1 and not torch.is_grad_enabled() else fast
        return layer(x.to(others[-1].dtype), *others, **options)


def normalize(rows: Tensor, gain: Tensor | None, bias: Tensor | None = None) -> Tensor:
    """Bring each row of (..., H) to mean 0 and variance 1, times the gain, plus the bias, (H,); no gain leaves it."""
    return rows if gain is None else F.layer_norm(rows, gain.shape, gain, bias, EPSILON)


def linear(x: Tensor, weight: Tensor, bias: Tensor, gain: Tensor | None) -> Tensor:
    """Return the product with a weight, normalized where there is a gain, plus the bias."""
    return F.linear(x, weight, bias) if gain is None else normalize(F.linear(x, weight), gain, bias)


def updates(zoneout: Update | None) -> Iterable[Update]:
    """Return zoneout's update of every step: (B, H) or a number; without zoneout 1."""
    if zoneout is None:
        return repeat(1.0)
    return zoneout.unbind() if isinstance(zoneout, Tensor) else repeat(zoneout)


def mogrify(x: Tensor, h: Tensor, mogrifier: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Let input and state gate each other in R rounds, in turn, before a step reads them.

    Args:
        x: (B, I).
        h: (B, H).
        mogrifier: R matrices, Q of (I, H) and R of (H, I) in turn.

    Returns:
        The gated x, (B, I), and h, (B, H). For R = 0 they are what they were.
    """
    for number, matrix in enumerate(mogrifier):
        if number % 2 == 0:
            x = 2 * torch.sigmoid(F.linear(h, matrix)) * x
        else:
            h = 2 * torch.sigmoid(F.linear(x, matrix)) * h
    return x, h


def normalized(rows: Tensor, gain: Tensor, bias: Tensor | None, moments: Moments) -> Tensor:
    """Compute :func:`normalize` of a step's rows, (B, H), and note their moments for the way back."""
    result, *of_rows = torch.native_layer_norm(rows, gain.shape, gain, bias, EPSILON)
    moments.append(of_rows)
    return result


def normalized_back(grad: Tensor, gain: Tensor, rows: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """Return the gradient of a step's rows, (B, H), from that of their normalization."""
    return _layer_norm_back(grad, rows, gain.shape, mean, rstd, gain, None, [True, False, False])[0]  # type: ignore[no-any-return]


def grad_of_gain(grads: Tensor, gain: Tensor, rows: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """Return the gradient of the gain from those of the normalizations of all steps, (T, B, H)."""
    return _layer_norm_back(grads, rows, gain.shape, mean, rstd, gain, None, [False, True, False])[1]  # type: ignore[no-any-return]


def product(
    read: Tensor, weight: Tensor, start: Tensor, gain: Tensor | None, rows: Tensor | None, moments: Moments
) -> Tensor:
    """Return N(weight read) + start, (B, N), of a step.

    Without a gain nothing is normalized; with one the rows, (B, N), are filled with weight read, and the moments noted.
    """
    if gain is None:
        return torch.addmm(start, read, weight.t())
    return normalized(torch.mm(read, weight.t(), out=rows), gain, None, moments).add_(start)


def product_back(grad: Tensor, gain: Tensor | None, *kept: Tensor, out: Tensor) -> None:
    """Fill in the gradient of weight read from that of N(weight read); without a gain they are one and the same tensor.

    `kept` are the rows and their moments.
    """
    if gain is not None:
        out.copy_(normalized_back(grad, gain, *kept))


def grad_of_weight(grads: Tensor, read: Tensor) -> Tensor:
    """Return the gradient of a weight from those of its products, (T, B, N), and what they read, (T, B, K): (N, K)."""
    return grads.flatten(0, 1).t() @ read.flatten(0, 1)


def zoneout_over_time(k: Update | None, like: Tensor) -> Tensor | None:
    """Return an update as a tensor: (T, B, H), or (T, 1, 1) for a number, where `like` is (T, ...)."""
    return k if k is None or isinstance(k, Tensor) else like.new_tensor(k).expand(len(like), 1, 1)


def over_steps(moments: Moments) -> tuple[Tensor | None, Tensor | None]:
    """Return the moments of all steps, each (T, B, 1); none where nothing was normalized."""
    mean, rstd = map(torch.stack, zip(*moments, strict=True)) if moments else (None, None)
    return mean, rstd
