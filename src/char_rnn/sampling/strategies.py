"""The functions of the sampling strategies, in float64 NumPy.

They run on the CPU for every device: ``torch.multinomial`` on MPS has drawn items of probability zero (pytorch issue
192577). `char_rnn.generation.sampler` applies them; ``kernels/draw.c`` does the same for blocks of symbols.

A filter takes *weights*, probabilities up to a common factor, and returns which symbols stay. To add one, declare its
option in `char_rnn.sampling.options` and list its function in `FILTERS`.

Dimensions: N texts, V vocabulary; ``...`` is nothing or N. A symbol that cannot be drawn has the log-probability -inf
and the weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class PredictionError(ValueError):
    """Predictions that nothing can be drawn from."""


def keep_only(log_probs: npt.ArrayLike, mask: Mask) -> Floats:
    """Set the log-probabilities (..., V) outside a mask (V,) to -inf."""
    return np.where(mask, np.asarray(log_probs, np.float64), -np.inf)


def penalize_repetition(log_probs: Floats, recent: Collection[int], penalty: float) -> None:
    """Multiply the log-probabilities of recent symbols by ``penalty``, in place.

    Source: Keskar et al. 2019, "CTRL", arXiv 1909.05858, which divides the scores of such symbols. That lowers positive
    scores only. Log-probabilities are never positive, so multiplying lowers them all: p becomes p ** penalty, before
    normalization. A symbol with probability 1 keeps it; the less likely a symbol, the more it loses.

    Log-probabilities are (V,), in nats. Repeats among the recent indices do not count. A penalty below 1 encourages.
    """
    log_probs[list(set(recent))] *= penalty


def apply_temperature(log_probs: Floats, temperature: float) -> Floats:
    """Sharpen (below 1) or flatten (above 1) a distribution.

    Args:
        log_probs: Log-probabilities (..., V), in nats.
        temperature: Divides them; 0 leaves the likeliest symbol only, the first of equals.

    Returns:
        Weights (..., V), the largest 1: they overflow at no temperature.

    Raises:
        PredictionError: A row has a NaN or +inf, or nothing above -inf.
    """
    largest = largest_of(log_probs)
    if temperature == 0:
        return np.asarray(np.arange(log_probs.shape[-1]) == log_probs.argmax(axis=-1, keepdims=True), np.float64)
    values = log_probs - largest
    if temperature != 1:
        with np.errstate(over="ignore"):
            values /= temperature
    return np.exp(values, out=values)


def largest_of(log_probs: Floats) -> Floats:
    """The largest log-probability of each row, (..., 1).

    Raises:
        PredictionError: A row has a NaN or +inf, or nothing above -inf.
    """
    largest = np.maximum.reduce(log_probs, axis=-1, keepdims=True)  # `max` takes twice as long for one row
    if not math.isfinite(np.add.reduce(largest, axis=None)):
        what = "NaN" if np.isnan(largest).any() else "+inf" if (largest > 0).any() else "only -inf"
        raise PredictionError(f"logits: contain {what}, so no symbol can be drawn; has the model's training diverged?")
    return np.asarray(largest)


def keep_top_k(weights: Floats, k: int) -> Mask:
    """Keep the k largest weights, the first of equals."""
    kept = np.zeros(weights.shape, bool)
    kept[..., :k] = True
    return _at_places(kept, _descending(weights))


def keep_top_p(weights: Floats, p: float) -> Mask:
    """Keep the nucleus: the fewest largest weights whose share reaches ``p``, at least one.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", arXiv 1904.09751.
    """
    return _until_share(weights, _descending(weights), p)


def keep_min_p(weights: Floats, p: float) -> Mask:
    """Keep the weights that are at least ``p`` times the largest.

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", arXiv 2407.01082.
    """
    return np.asarray(weights >= p * weights.max(axis=-1, keepdims=True))


def keep_typical_p(weights: Floats, p: float) -> Mask:
    """Keep the locally typical set: the fewest symbols whose share reaches ``p``, those nearest to the entropy first.

    The distance is that of a symbol's information, -log of its probability, to the entropy. The likeliest symbol may be
    left out.

    Source: Meister et al. 2022, "Locally Typical Sampling", arXiv 2202.00666; ``p`` is its tau.
    """
    probabilities = weights / weights.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        information = -np.log(probabilities)
    terms = probabilities * np.where(probabilities > 0, information, 0)
    distance = np.abs(information - terms.sum(axis=-1, keepdims=True))
    return _until_share(weights, distance.argsort(axis=-1, kind="stable"), p)


FILTERS: dict[str, Callable[[Floats, Any], Mask]] = {
    "top_k": keep_top_k,
    "top_p": keep_top_p,
    "min_p": keep_min_p,
    "typical_p": keep_typical_p,
}
"""The filters by their options, in the order in which they apply."""


def apply_filters(weights: Floats, filters: Mapping[str, Any]) -> Floats:
    """Set the weights (..., V) that filters leave out to 0; `filters` has their values by option, ``None`` = off."""
    for name, keep in FILTERS.items():
        if (value := filters.get(name)) is not None:
            weights = weights * keep(weights, value)
    return weights


def probabilities(log_probs: npt.ArrayLike, temperature: float = 1.0, **filters: Any) -> Floats:
    """The distribution (..., V) to draw from, after the temperature and the filters named.

    Raises:
        PredictionError: A row has a NaN or +inf, or nothing above -inf.
    """
    weights = apply_filters(apply_temperature(np.asarray(log_probs, np.float64), temperature), filters)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def draw(weights: Floats, number: float) -> int:
    """Draw an index of weights (V,), never one of weight 0, with a uniform random number from 0 to below 1."""
    cumulative = weights.cumsum()
    place = int(cumulative.searchsorted(number * cumulative[-1], "right"))
    return place if place < len(weights) else _last(weights)


def draw_each(weights: Floats, numbers: Sequence[float]) -> list[int]:
    """`draw` for the rows of weights (N, V), with N numbers."""
    cumulative = weights.cumsum(axis=-1)
    wanted = np.multiply(numbers, cumulative[:, -1])[:, None]
    places = np.count_nonzero(cumulative <= wanted, axis=-1).tolist()
    return [place if place < len(row) else _last(row) for place, row in zip(places, weights, strict=True)]


def _last(weights: Floats) -> int:
    """The last symbol that can be drawn: a number times the sum can round up to the sum, which points past it."""
    return int(weights.nonzero()[0][-1])


def _descending(weights: Floats) -> npt.NDArray[np.intp]:
    """Indices from the largest weight to the smallest, equals in their own order."""
    return np.argsort(-weights, axis=-1, kind="stable")


def _until_share(weights: Floats, order: npt.NDArray[np.intp], p: float) -> Mask:
    """Mask of the fewest symbols, in ``order``, whose share of all weights reaches ``p``, at least one."""
    kept = np.ones(weights.shape, bool)
    if p < 1:
        cumulative = weights[_index(order)].cumsum(axis=-1)
        kept[..., 1:] = cumulative[..., :-1] < p * cumulative[..., -1:]
        return _at_places(kept, order)
    return kept


def _at_places(kept: Mask, order: npt.NDArray[np.intp]) -> Mask:
    """Mask of symbols from a mask of their places in ``order``."""
    mask = np.empty(kept.shape, bool)
    mask[_index(order)] = kept
    return mask


def _index(order: npt.NDArray[np.intp]) -> Any:
    """Index of rows (N, V), or of one (V,), in an order; `take_along_axis` is ten times slower for one."""
    return order if order.ndim == 1 else (np.arange(len(order))[:, None], order)
