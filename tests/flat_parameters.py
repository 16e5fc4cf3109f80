"""The flat parameter vector of a 2015 model, made from today's tensors: the inverse of ``layout.to_tensors``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from char_rnn.torch7.layout import linears, to_tensors


def to_flat(
    cell: str, vocab_size: int, hidden_size: int, num_layers: int, tensors: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the vector (P,): where each number of it goes, and with which sign, shows where it comes from."""
    sizes = (cell, vocab_size, hidden_size, num_layers)
    flat = np.empty(sum(slot.size for slot in linears(*sizes)), next(iter(tensors.values())).dtype)
    for name, places in to_tensors(*sizes, np.arange(1.0, len(flat) + 1)).items():
        flat[np.abs(places).astype(int) - 1] = np.sign(places).astype(flat.dtype) * tensors[name]
    return flat
