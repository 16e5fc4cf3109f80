"""What the models' arguments may be."""

from __future__ import annotations

import torch
from torch import Tensor

ATTENTION = ("none", "top", "all")
LAYER_NORM = ("none", "between", "cell")


def check_sizes(**sizes: int) -> None:
    """Raise ValueError if one is no whole number from 1 on."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}: got {size!r}; give a whole number, 1 or more")


def check_probabilities(**probabilities: float) -> None:
    """Raise ValueError if one is not from 0 to below 1."""
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"{name}: got {probability}; give a probability from 0 to below 1")


def check_choice(name: str, given: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError if it is none of the choices."""
    if given not in choices:
        raise ValueError(f"{name}: got {given!r}; give {', '.join(choices[:-1])} or {choices[-1]}")


def check_ids(x: Tensor) -> None:
    """Raise ValueError if x is not ids of shape (batch, time)."""
    if x.dim() != 2 or x.shape[0] < 1 or x.shape[1] < 1:
        raise ValueError(f"x: got shape {tuple(x.shape)}; give ids of shape (batch, time), both 1 or more")
    if x.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"x: got {x.dtype}; give ids as torch.int64, x.long() converts them")


def check_range(x: Tensor, vocab_size: int) -> None:
    """Raise IndexError if an id on the CPU is outside 0 to V - 1; on other devices finding out would wait for them."""
    if x.is_cpu:
        smallest, largest = (int(bound) for bound in torch.aminmax(x))
        if smallest < 0 or largest >= vocab_size:
            raise IndexError(f"x: ids are from {smallest} to {largest}; give ids from 0 to {vocab_size - 1}")
