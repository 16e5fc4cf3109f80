"""Attention over a bounded window of the past.

Dimensions: B batch, T time, H hidden, W window, N heads, D = H / N.
Source: scaled dot-product attention of Vaswani et al. (2017), arXiv 1706.03762, over the hidden states of a recurrent
network as in Merity (2019), arXiv 1911.11423, with the memory of earlier segments of Dai et al. (2019), arXiv
1901.02860. There is no positional encoding; the recurrence carries position. So the past is a set, and zeros stand
for the time before the text.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attend_reference(
    x: Tensor, memory: Tensor, query: Tensor, key: Tensor, value: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    """Attend, at every step, to the state itself and to the W before it, step by step.

    Args:
        x: States, (B, T, H), T at least 1.
        memory: States before them, (B, W, H), the latest last; zeros before the text.
        query: (H, H), the rows of head 0 first.
        key: (H, H), likewise.
        value: (H, H), likewise.
        heads: N, a divisor of H.

    Returns:
        The outputs of the heads, side by side, (B, T, H), and the memory after the last step, (B, W, H).
    """
    window = memory.shape[1]
    found = []
    for x_t in x.unbind(1):
        past = torch.cat([memory, x_t.unsqueeze(1)], 1)  # (B, W + 1, H)
        q = _by_head(F.linear(x_t, query), heads)  # (B, N, D)
        k, v = (_by_head(F.linear(past, weight), heads) for weight in (key, value))  # (B, W + 1, N, D)
        scores = torch.einsum("bnd,bwnd->bnw", q, k) / q.shape[-1] ** 0.5
        found.append(torch.einsum("bnw,bwnd->bnd", scores.softmax(-1), v).flatten(1))
        memory = past[:, -window:]
    return torch.stack(found, 1), memory


def attend(x: Tensor, memory: Tensor, query: Tensor, key: Tensor, value: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Compute :func:`attend_reference` for all steps at once.

    Keys and values are never computed: q . (K s) = (K' q) . s, and a mean of V s is V times the mean. A step then costs
    N W H instead of W H H.
    """
    time, window = x.shape[1], memory.shape[1]
    states = torch.cat([memory.to(x.dtype), x], 1)  # (B, W + T, H)
    q = _by_head(F.linear(x, query), heads)  # (B, T, N, D)
    asked = torch.einsum("btnd,ndh->bnth", q, key.view(heads, -1, key.shape[1]))
    shared = states.unsqueeze(1).expand(-1, heads, -1, -1)
    mean = F.scaled_dot_product_attention(
        asked, shared, shared, attn_mask=_band(time, window, x.device), scale=q.shape[-1] ** -0.5
    )
    found = torch.einsum("bnth,ndh->btnd", mean, value.view(heads, -1, value.shape[1]))
    return found.flatten(2), states[:, -window:]


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """Return (..., H) as (..., N, D)."""
    return rows.view(*rows.shape[:-1], heads, -1)


def _band(time: int, window: int, device: torch.device) -> Tensor:
    """Return which of W + T states each of T steps attends to, (T, W + T): its own and the W before it."""
    steps = torch.arange(time, device=device).unsqueeze(1)
    states = torch.arange(window + time, device=device)
    return (states >= steps) & (states <= steps + window)
