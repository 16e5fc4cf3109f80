"""Sampling strategies: pure functions on logits or log-probabilities, in float64 NumPy, with an explicit generator.

They run in NumPy on the CPU whatever the model's device: ``torch.multinomial`` on MPS has drawn items of probability
zero (pytorch issue 192577). `Sampler` does the same in fewer passes; these are what it is held to.

Dimensions: V vocabulary; ``...`` any leading ones. A symbol that is out of the draw has the logit -inf.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from char_rnn.generation.ranges import check_strategy

Floats = npt.NDArray[np.float64]


class PredictionError(ValueError):
    """Predictions that nothing can be drawn from."""


def keep_only(logits: npt.ArrayLike, kept: npt.NDArray[np.bool_]) -> Floats:
    """Leaves some symbols in the draw, whatever the model says: what banned and allowed characters mean.

    Args:
        logits: (..., V).
        kept: Which, (V,).

    Returns:
        Logits (..., V), the others -inf.

    Raises:
        ValueError: Nothing above -inf is left.
    """
    return _checked(np.where(kept, _checked(logits), -np.inf))


def penalize_repetition(log_probs: npt.ArrayLike, recent: npt.ArrayLike, penalty: float) -> Floats:
    """Discourages symbols seen lately: their log-probabilities are multiplied by ``penalty``.

    Source: Keskar et al. 2019, "CTRL", arXiv 1909.05858, which divides the scores of such symbols. That lowers positive
    scores alone. Log-probabilities are 0 at most, so multiplying them is what lowers: p becomes the power p ** penalty,
    before all are scaled to sum to 1 again. A symbol that is certain stays so; the less likely, the more it loses.

    Args:
        log_probs: Log-probabilities (V,), in nats.
        recent: Indices (N,) of the symbols seen lately; how often does not matter.
        penalty: Above 1 discourages, below 1 encourages.

    Returns:
        Logits (V,).
    """
    check_strategy(repetition_penalty=penalty)
    values: Floats = _checked(log_probs).copy()
    seen = np.unique(np.asarray(recent, dtype=np.intp))
    values[seen] *= penalty
    return values


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
    return _keep_until(values, _descending(values), softmax(values), p)


def keep_min_p(logits: npt.ArrayLike, p: float) -> Floats:
    """Leaves the symbols in the draw that are at least ``p`` times as likely as the likeliest.

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", arXiv 2407.01082.

    Args:
        logits: (..., V).
        p: Above 0, at most 1; 1 leaves the likeliest alone.

    Returns:
        Logits (..., V), the others -inf.
    """
    check_strategy(min_p=p)
    values = _checked(logits)
    ratios = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.where(ratios >= p, values, -np.inf)


def keep_typical(logits: npt.ArrayLike, p: float) -> Floats:
    """Leaves the locally typical set in the draw: symbols whose information is nearest to what is to be expected.

    These are the fewest whose probabilities reach ``p``, at least one, taken in the order of the distance of -log p to
    the entropy. The likeliest may be left out.

    Source: Meister et al. 2022, "Locally Typical Sampling", arXiv 2202.00666.

    Args:
        logits: (..., V).
        p: The paper's tau, above 0, at most 1; 1 leaves all.

    Returns:
        Logits (..., V), the others -inf.
    """
    check_strategy(typical_p=p)
    values = _checked(logits)
    if p == 1:
        return values
    weights = softmax(values)
    information = -np.log(weights, out=np.full_like(weights, -np.inf), where=weights > 0)
    entropy = np.where(weights > 0, weights * np.where(weights > 0, information, 0.0), 0.0).sum(axis=-1, keepdims=True)
    order = np.argsort(np.abs(information - entropy), axis=-1, kind="stable")
    return _keep_until(values, order, weights, p)


def softmax(logits: npt.ArrayLike) -> Floats:
    """Probabilities (..., V) of logits (..., V)."""
    values = _checked(logits)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def probabilities(
    log_probs: npt.ArrayLike,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    typical_p: float | None = None,
) -> Floats:
    """The distribution that is drawn from: temperature first, then top-k, top-p, min-p, typical of what is left.

    Args:
        log_probs: Logits or log-probabilities (..., V), in nats.
        temperature: See `apply_temperature`.
        top_k: See `keep_top_k`; as the others, ``None`` = all.
        top_p: See `keep_top_p`.
        min_p: See `keep_min_p`.
        typical_p: See `keep_typical`.

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
    if min_p is not None:
        logits = keep_min_p(logits, min_p)
    if typical_p is not None:
        logits = keep_typical(logits, typical_p)
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


def _checked(logits: npt.ArrayLike) -> Floats:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"logits: must be of shape (..., V) with V at least 1; given shape {values.shape}")
    largest = values.max(axis=-1)
    if not np.isfinite(largest).all():
        what = "NaN" if np.isnan(largest).any() else "+inf" if (largest > 0).any() else "only -inf"
        raise PredictionError(
            f"logits: hold {what}, which no symbol can be drawn from; has the model's training diverged?"
        )
    return values


def _descending(values: Floats) -> npt.NDArray[np.intp]:
    """Indices from the largest to the smallest, equals in their own order."""
    return np.argsort(-values, axis=-1, kind="stable")


def _keep_until(values: Floats, order: npt.NDArray[np.intp], probabilities: Floats, p: float) -> Floats:
    """``values`` of the fewest in ``order`` whose probabilities reach ``p``, at least one; -inf elsewhere."""
    ordered = np.take_along_axis(probabilities, order, axis=-1)
    before = np.cumsum(ordered, axis=-1) - ordered
    before[..., 0] = 0.0
    return _keep_first(values, order, before < p)


def _keep_first(values: Floats, order: npt.NDArray[np.intp], kept: npt.NDArray[np.bool_]) -> Floats:
    """``values`` where ``kept``, which speaks of places in ``order``; -inf elsewhere."""
    mask = np.empty(values.shape, dtype=bool)
    np.put_along_axis(mask, order, np.broadcast_to(kept, values.shape), axis=-1)
    return np.where(mask, values, -np.inf)
