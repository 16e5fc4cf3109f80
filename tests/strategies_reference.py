"""The strategies as functions on log-probabilities, written independently of `char_rnn.sampling.strategies`.

Dimensions: V vocabulary. A symbol that cannot be drawn has the log-probability -inf.
"""

from __future__ import annotations

import numpy as np


def distribution(
    log_probs: np.ndarray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    typical_p: float | None = None,
) -> np.ndarray:
    """Probabilities (V,) to draw from."""
    logits = log_probs - log_probs.max()
    if temperature == 0:
        logits = np.where(np.arange(len(logits)) == np.argmax(logits), 0.0, -np.inf)
    else:
        with np.errstate(over="ignore"):
            logits = logits / temperature
    if top_k is not None:
        logits = _first(logits, _descending(logits), np.arange(len(logits)) < top_k)
    if top_p is not None:
        logits = _until(logits, _descending(logits), top_p)
    if min_p is not None:
        logits = np.where(_softmax(logits) >= min_p * _softmax(logits).max(), logits, -np.inf)
    if typical_p is not None:
        probabilities = _softmax(logits)
        information = -np.log(probabilities, out=np.full_like(logits, -np.inf), where=probabilities > 0)
        entropy = sum(each * log for each, log in zip(probabilities, information, strict=True) if each > 0)
        logits = _until(logits, np.argsort(np.abs(information - entropy), kind="stable"), typical_p)
    return _softmax(logits)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def _descending(logits: np.ndarray) -> np.ndarray:
    return np.argsort(-logits, kind="stable")


def _until(logits: np.ndarray, order: np.ndarray, p: float) -> np.ndarray:
    """The fewest in an order whose probabilities reach p."""
    if p == 1:
        return logits
    probabilities = _softmax(logits)[order]
    before = np.cumsum(probabilities) - probabilities
    return _first(logits, order, np.append(True, before[1:] < p))


def _first(logits: np.ndarray, order: np.ndarray, kept: np.ndarray) -> np.ndarray:
    mask = np.empty(len(logits), bool)
    mask[order] = kept
    return np.where(mask, logits, -np.inf)
