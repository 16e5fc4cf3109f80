"""Limits on the gradient: of its norm, or of each of its elements.

T is the sequence length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from char_rnn.training import native


def gradient_norm(parameters: Sequence[torch.Tensor]) -> float:
    """Return the Euclidean norm of the whole gradient."""
    gradients = _gradients(parameters)
    return native.norm(gradients) if native.can_run(gradients) else float(torch.nn.utils.get_total_norm(gradients))


def clip_norm(parameters: Sequence[torch.Tensor], limit: float) -> float:
    """Scale the gradient down to the norm ``limit`` where it is longer (Pascanu et al. 2013, arXiv 1211.5063).

    The factor is that of ``torch.nn.utils.clip_grad_norm_``, which has 1e-6 in the divisor.

    Returns:
        The norm before.
    """
    norm = gradient_norm(parameters)
    factor = limit / (norm + 1e-6)
    if not factor >= 1:  # a NaN too
        foreach: Any = torch
        foreach._foreach_mul_(_gradients(parameters), factor)
    return norm


def _gradients(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def clip_value(parameters: Sequence[torch.Tensor], limit: float, seq_length: int) -> float:
    """Clamp every element of the gradient as the 2015 program does.

    That program's gradient is the sum over the T characters of a sequence; here the loss, and with it the gradient, is
    the mean over them. So what it clamps to +-limit is clamped to +-limit / T here: the same elements, to the same
    share.

    Returns:
        The norm before.
    """
    norm = gradient_norm(parameters)
    torch.nn.utils.clip_grad_value_(parameters, limit / seq_length)
    return norm
