"""Matches: the most recent earlier occurrences of the last n symbols, as a source of inputs for a network.

Dimensions: B batch, T time, W window, V vocabulary, M match lengths.
Source: the match model of the PAQ compressors (Mahoney 2005, "Adaptive weighing of context models for lossless data
compression"), here with learned vectors in place of a count of the successes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from char_rnn.kernels import load, openmp

_BASE = 6364136223846793005
"""Odd, so that no symbol drops out of a code modulo 2^64, however many follow it."""


def find_matches_reference(x: Tensor, history: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Find the symbol that followed the match of each length at every step, symbol by symbol.

    Args:
        x: Ids, (B, T), T at least 1.
        history: The W symbols before them, (B, W), the latest last: ids + 1 in any type, and 0 before the text.
        lengths: M lengths of matches, from 1 to W symbols.

    Returns:
        The symbols that followed, (M, B, T): ids + 1, and 0 where the last n symbols do not occur earlier in the window
        of the present symbol and the W before it. And the W symbols before the next step, as `history`.
    """
    text = torch.cat([history.long(), x + 1], 1)
    window = history.shape[1]
    found = torch.zeros(len(lengths), *x.shape, dtype=torch.long)
    for row, symbols in enumerate(text.tolist()):
        for step in range(x.shape[1]):
            seen = symbols[step : step + window + 1]
            for number, length in enumerate(lengths):
                last = seen[len(seen) - length :]
                starts = [start for start in range(len(seen) - length) if seen[start : start + length] == last]
                if starts and last[0]:
                    found[number, row, step] = seen[starts[-1] + length]
    return found, text[:, -window:].to(history.dtype)


def find_matches(x: Tensor, history: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Compute :func:`find_matches_reference` by the kernels, or by sorting a code of every place's last symbols."""
    if x.device.type == "mps":  # whose sort of int64 is wrong (pytorch issues 155560, 195595)
        found, history = find_matches(x.cpu(), history.cpu(), lengths)
        return found.to(x.device), history.to(x.device)
    text = torch.cat([history.int(), (x + 1).int()], 1)
    window, time = history.shape[1], x.shape[1]
    if text.is_cpu and load() is not None:
        found = _by_kernels(text, time, lengths)
    else:
        symbols = text.long()
        found = torch.stack([_latest(symbols, length, window)[:, -time:] for length in lengths])
    return found, text[:, -window:].to(history.dtype)


def _by_kernels(text: Tensor, time: int, lengths: Sequence[int]) -> Tensor:
    found = torch.empty(len(lengths), len(text), time, dtype=torch.long)
    given = (ctypes.c_int64 * len(lengths))(*lengths), len(lengths), found.data_ptr()
    if load().matches_find(text.data_ptr(), *text.shape, time, *given, torch.get_num_threads(), openmp()):
        raise MemoryError("not enough memory for the matches")
    return found


def _latest(text: Tensor, length: int, window: int) -> Tensor:
    """Return what followed the latest match at every place from the first with so many symbols on."""
    count = text.shape[1] - length + 1
    code = torch.zeros_like(text[:, :count])
    for place in range(length):
        code = code * _BASE + text[:, place : place + count]
    ordered, order = torch.sort(code, dim=1, stable=True)
    places, before = order[:, 1:], order[:, :-1]
    is_match = (ordered[:, 1:] == ordered[:, :-1]) & (places - before <= window - length + 1)
    followed = text.gather(1, (before + length).clamp(max=text.shape[1] - 1))
    latest = torch.zeros_like(code).scatter_(1, places, followed * is_match)
    known: Tensor = latest * (text[:, :count] > 0)
    return known
