"""Sampling strategies: pure functions on logits or log-probabilities, in float64 NumPy, with an explicit generator.

They run in NumPy on the CPU whatever the model's device: ``torch.multinomial`` on MPS has drawn items of probability
zero (pytorch issue 192577).

Dimensions: V vocabulary; ``...`` any leading ones. A symbol that is out of the draw has the logit -inf.
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def check_strategy(temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> None:
    """Raises ``ValueError`` if one of the three is outside its range."""
    if not _is_number(temperature) or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: must be a number, 0 or more (0 = always the likeliest); given {temperature!r}")
    if top_k is not None and (not isinstance(top_k, (int, np.integer)) or isinstance(top_k, bool) or top_k < 1):
        raise ValueError(f"top_k: must be a whole number, 1 or more, or None for all; given {top_k!r}")
    if top_p is not None and (not _is_number(top_p) or not 0 < top_p <= 1):
        raise ValueError(f"top_p: must be a number more than 0 and at most 1, or None for all; given {top_p!r}")


def apply_temperature(logits: npt.ArrayLike, temperature: float) -> Floats:
    """Sharpens (below 1) or flattens (above 1) a distribution.

    Args:
        logits: (..., V).
        temperature: What they are divided by; 0 leaves the largest alone (of equals the first).

    Returns:
        Logits (..., V), shifted so that the largest is 0: no temperature overflows them.

    Raises:
        ValueError: ``temperature`` is out of range, or ``logits`` hold NaN or +inf, or nothing above -inf.
    """
    check_strategy(temperature=temperature)
    values = _checked(logits)
    if temperature == 0:
        return keep_top_k(values - values.max(axis=-1, keepdims=True), 1)
    with np.errstate(over="ignore"):
        return np.asarray((values - values.max(axis=-1, keepdims=True)) / temperature)


def keep_top_k(logits: npt.ArrayLike, k: int) -> Floats:
    """Leaves the k largest logits (of equals the first) in the draw; ``k`` above V leaves all.

    Args:
        logits: (..., V).
        k: At least 1.

    Returns:
        Logits (..., V), the others -inf.
    """
    check_strategy(top_k=k)
    values = _checked(logits)
    if k >= values.shape[-1]:
        return values
    return _keep_first(values, _descending(values), np.arange(values.shape[-1]) < k)


def keep_top_p(logits: npt.ArrayLike, p: float) -> Floats:
    """Leaves the nucleus in the draw: the fewest largest logits whose probabilities reach ``p``, at least one.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", arXiv 1904.09751.

    Args:
        logits: (..., V).
        p: Above 0, at most 1; 1 leaves all.

    Returns:
        Logits (..., V), the others -inf.
    """
    check_strategy(top_p=p)
    values = _checked(logits)
    if p == 1:
        return values
    order = _descending(values)
    sorted_probabilities = np.take_along_axis(softmax(values), order, axis=-1)
    before = np.cumsum(sorted_probabilities, axis=-1) - sorted_probabilities
    before[..., 0] = 0.0
    return _keep_first(values, order, before < p)


def softmax(logits: npt.ArrayLike) -> Floats:
    """Probabilities (..., V) of logits (..., V)."""
    values = _checked(logits)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def probabilities(
    log_probs: npt.ArrayLike, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Floats:
    """The distribution that is drawn from: temperature first, then top-k, then the nucleus of what is left.

    Args:
        log_probs: Logits or log-probabilities (..., V), in nats.
        temperature: See `apply_temperature`.
        top_k: See `keep_top_k`; ``None`` = all.
        top_p: See `keep_top_p`; ``None`` = all.

    Returns:
        Probabilities (..., V); each row sums to 1.

    Raises:
        ValueError: An argument is out of range, or ``log_probs`` hold NaN.
    """
    logits = apply_temperature(log_probs, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return softmax(logits)


def sample(probabilities: npt.ArrayLike, rng: np.random.Generator) -> int:
    """Draws an index by one uniform number; never one of probability zero.

    Args:
        probabilities: (V,), non-negative; they need not sum to 1.
        rng: Advanced by one double.

    Raises:
        ValueError: A probability is negative or not finite, or all are zero.
    """
    weights = np.asarray(probabilities, dtype=np.float64)
    cumulative = np.cumsum(weights)
    if weights.ndim != 1 or not len(weights) or not (weights >= 0).all() or not 0 < cumulative[-1] < math.inf:
        raise ValueError("probabilities: must be one row of finite numbers, 0 or more, and not all 0")
    index = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    # The product can round up to the whole sum, which would point past the last symbol that can be drawn.
    return min(index, int(np.flatnonzero(weights)[-1]))


def greedy(logits: npt.ArrayLike) -> int:
    """Index of the largest of logits (V,), of equals the first."""
    return int(np.argmax(_checked(logits)))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _checked(logits: npt.ArrayLike) -> Floats:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"logits: must be of shape (..., V) with V at least 1; given shape {values.shape}")
    largest = values.max(axis=-1)
    if not np.isfinite(largest).all():
        what = "NaN" if np.isnan(largest).any() else "+inf" if (largest > 0).any() else "only -inf"
        raise ValueError(f"logits: hold {what}, which no symbol can be drawn from; has the model's training diverged?")
    return values


def _descending(values: Floats) -> npt.NDArray[np.intp]:
    """Indices from the largest to the smallest, equals in their own order."""
    return np.argsort(-values, axis=-1, kind="stable")


def _keep_first(values: Floats, order: npt.NDArray[np.intp], kept: npt.NDArray[np.bool_]) -> Floats:
    """``values`` where ``kept``, which speaks of places in ``order``; -inf elsewhere."""
    mask = np.empty(values.shape, dtype=bool)
    np.put_along_axis(mask, order, np.broadcast_to(kept, values.shape), axis=-1)
    return np.where(mask, values, -np.inf)
