"""Activations of all cells of a model in 8 bits, for messages: a pixel of a heat map needs no more.

Dimensions: L layers, H hidden; ``...`` is nothing or T characters.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from char_rnn.generation.network import Array

_LARGEST = 127


def packed(states: Array) -> dict[str, Any]:
    """Return the activations (..., L, H) as the fields of `schema.States`."""
    scale = max(1.0, float(np.abs(states).max(initial=0)))
    levels = np.rint(states * (_LARGEST / scale)).astype(np.int8)
    return {"scale": scale, "values": base64.b64encode(levels.tobytes()).decode()}
