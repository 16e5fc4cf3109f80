"""Drawing from probabilities.

On MPS ``torch.multinomial`` has drawn items of probability zero, about once in 3e7 random numbers (pytorch issue
192577), and items that do not exist (136623). This package draws its texts on the CPU, in NumPy, whatever the device.

Dimensions: R rows, V items.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.finding import Finding
from char_rnn.doctor.problem import SEED, Sizes

ITEMS, ROWS, REPEATED, SIGMAS = 65_536, 64, 100_000, 6.0
POSSIBLE = {17: 0.5, 40_000: 0.3, ITEMS - 1: 0.2}


def drawing(backend: Backend, sizes: Sizes) -> Finding:
    """Draw from three possible items among 65,536, one a row and many a row; see which come and how often."""
    torch.manual_seed(SEED)
    row = torch.zeros(ITEMS)
    row[list(POSSIBLE)] = torch.tensor(list(POSSIBLE.values()))
    row = row.to(backend.device)
    rows = row.expand(ROWS, -1).contiguous()
    count = sizes.draws * (1 if backend.device.type == "cpu" else 6)
    rounds = range(-(-count // ROWS))
    singly = torch.cat([backend.draw(rows, 1, replacement=False).flatten() for _ in rounds])
    repeated = backend.draw(row.unsqueeze(0), REPEATED, replacement=True).flatten()
    complaint = _about(singly, "one a row") or _about(repeated, "many a row")
    drawn = f"{len(singly) + len(repeated):,} items drawn, all of them possible and as often as they should be"
    return Finding(not complaint, complaint or drawn)


def _about(drawn: Tensor, how: str) -> str:
    """Return what is wrong with the items drawn; nothing if they are right."""
    impossible = sum(item not in POSSIBLE for item in drawn.tolist())
    if impossible:
        return f"items of probability zero are drawn: {impossible:,} of {len(drawn):,} ({how})"
    for item, probability in POSSIBLE.items():
        share = float((drawn == item).double().mean())
        if abs(share - probability) > SIGMAS * math.sqrt(probability * (1 - probability) / len(drawn)):
            return f"an item of probability {probability:g} is drawn with {share:.3f} ({how})"
    return ""
