"""Limits on the gradient: of its norm, or of each of its elements.

T is the sequence length.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def gradient_norm(parameters: Sequence[torch.Tensor]) -> float:
    """Return the Euclidean norm of the whole gradient."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


def clip_norm(parameters: Sequence[torch.Tensor], limit: float) -> float:
    """Scale the gradient down to the norm ``limit`` where it is longer (Pascanu et al. 2013, arXiv 1211.5063).

    Returns:
        The norm before.
    """
    return float(torch.nn.utils.clip_grad_norm_(parameters, limit))


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
