"""Dropout in training: one function for each kind, each the identity for a probability of 0.

They draw from PyTorch's global generator and divide what remains by its probability, so that expectations are those of
evaluation. Zoneout, which mixes two states, and matches are not divided.

Dimensions: B batch, T time, V vocabulary, H hidden, M match lengths.
"""

from __future__ import annotations

import torch
from torch import Tensor


def drop_units(x: Tensor, p: float, *, locked: bool) -> Tensor:
    """Drop units of x (B, T, H): new ones at each step or, if locked, the same ones at all steps of a sequence.

    Source: Srivastava et al. (2014); variational dropout: Gal and Ghahramani (2016), arXiv 1512.05287.
    """
    if not p:
        return x
    return x * _factors(x.new_empty(x.shape[0], 1, x.shape[2]) if locked else x, p)


def drop_symbols(vectors: Tensor, ids: Tensor | None, vocab_size: int, p: float) -> Tensor:
    """Drop the vectors of symbols, each at all its positions.

    `vectors` are those of `ids`, (..., H) and (...), or without ids those of every symbol, (V, H).
    Source: Gal and Ghahramani (2016), arXiv 1512.05287, section 4.2.
    """
    if not p:
        return vectors
    kept = _factors(vectors.new_empty(vocab_size, 1), p)
    return vectors * (kept if ids is None else kept[ids])


def drop_weights(weight: Tensor, p: float) -> Tensor:
    """Drop entries of a weight, for all sequences and steps.

    Source: DropConnect, Wan et al. (2013), on recurrent weights as in Merity et al. (2018), arXiv 1708.02182.
    """
    return weight * _factors(weight, p) if p else weight


def drop_matches(found: Tensor, p: float) -> Tensor:
    """Replace all matches (M, B, T) of a sequence by 0, "no match"; what remains is not divided."""
    return found * _kept(found.new_empty(1, found.shape[1], 1), p) if p else found


def zoneout_mask(like: Tensor, time: int, p: float, *, training: bool) -> Tensor | float:
    """Return how far each unit moves to its new state: (T, B, H) ones, or zeros to keep the old; in evaluation 1 - p.

    `like` is a state, (B, H). Source: Krueger et al. (2017), arXiv 1606.01305.
    """
    return _kept(like.new_empty(time, *like.shape), p) if training else 1 - p


def _factors(like: Tensor, p: float) -> Tensor:
    """Return factors of the shape and type of a tensor: 0 with the probability p, else 1 / (1 - p)."""
    return _kept(like, p).mul_(1 / (1 - p))


def _kept(like: Tensor, p: float) -> Tensor:
    """Return 0 with the probability p, else 1, of the shape and type of a tensor.

    On the CPU p is rounded to a multiple of 2^-16: comparing 16 random bits is several times as fast as PyTorch's
    function.
    """
    kept = torch.empty_like(like)
    if not kept.is_cpu:
        return kept.bernoulli_(1 - p)
    count, smallest = kept.numel(), torch.iinfo(torch.int64).min
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(smallest, None).view(torch.int16)[:count]
    kept.as_strided((count,), (1,)).copy_(bits >= round(p * 2**16) - 2**15)
    return kept
