"""Checks of the models' arguments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from char_rnn.cells import CELLS, GRU, Cell

RESERVED = ("attending", "attention_window", "blocks", "output_norm", "output_proj")
"""Attributes of a model that cannot be a cell's name, in addition to those that the model has before its cell."""


def check_cell(cell: Any, model: nn.Module) -> None:
    """Raise ValueError if a model cannot be made of a cell, or a configuration cannot name it."""
    kind = type(cell).__name__
    if CELLS.get(getattr(cell, "name", "")) is not type(cell):
        what = f"got {cell!r}; give an instance of a cell, such as char_rnn.cells.LSTM()"
        if isinstance(cell, Cell):
            fix = f"set {kind}.name, or create {kind}() again if the class was redefined"
            what = f"the class {kind} is not registered under its name; {fix}"
        raise ValueError(f"cell: {what}")
    try:
        hash(cell)
    except TypeError as error:
        raise ValueError(f"cell: {kind}'s attributes must be hashable ({error}); use tuples instead of lists") from None
    if cell != (GRU(cell.reset) if type(cell) is GRU else type(cell)()):
        raise ValueError(f"cell: a configuration stores only the name {cell.name}; use {kind}() with its defaults")
    if hasattr(model, cell.name) or cell.name in RESERVED:
        raise ValueError(f"cell: the name {cell.name} is one of the model's attributes; give {kind} another")


def check_sizes(**sizes: int) -> None:
    """Raise ValueError if one is not a whole number from 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}: got {size!r}; give a whole number, 1 or more")


def check_probabilities(**probabilities: float) -> None:
    """Raise ValueError if one is not from 0 to below 1."""
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"{name}: got {probability}; give a probability from 0 to below 1")


def check_choice(name: str, given: str, *choices: str) -> None:
    """Raise ValueError if it is not one of the choices."""
    if given not in choices:
        raise ValueError(f"{name}: got {given!r}; give {', '.join(choices[:-1])} or {choices[-1]}")


def check_ids(x: Tensor) -> None:
    """Raise ValueError if x is not ids of shape (batch, time)."""
    if x.dim() != 2 or x.shape[0] < 1 or x.shape[1] < 1:
        raise ValueError(f"x: got shape {tuple(x.shape)}; give ids of shape (batch, time), both 1 or more")
    if x.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"x: got {x.dtype}; give ids as torch.int64, x.long() converts them")


def check_range(x: Tensor, vocab_size: int) -> None:
    """Raise IndexError if an id on the CPU is outside 0 to V - 1; on other devices the check would wait for them."""
    if x.is_cpu:
        smallest, largest = (int(bound) for bound in torch.aminmax(x))
        if smallest < 0 or largest >= vocab_size:
            raise IndexError(f"x: ids are from {smallest} to {largest}; give ids from 0 to {vocab_size - 1}")
