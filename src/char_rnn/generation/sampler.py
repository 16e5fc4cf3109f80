"""Draws by a strategy in as few passes over the predictions as it takes; `strategies` says the same, readably.

Dimensions: N texts, V vocabulary. A symbol that is out of the draw has the weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from char_rnn.generation import strategies
from char_rnn.generation.spelling import canonical
from char_rnn.generation.strategies import Floats
from char_rnn.generation.strategy import Strategy
from char_rnn.generation.symbols import Symbols, indices_of

_SAFE_TEMPERATURE = 1e-3
"""No log-probability of float32 overflows float64 when it is divided by this."""


class Sampler:
    """A strategy for one vocabulary, ready to draw.

    Args:
        strategy: The settings.
        symbols: The vocabulary.

    Attributes:
        kept: Indices of the symbols that can be drawn.

    Raises:
        ValueError: ``banned`` and ``allowed`` leave nothing to draw, or name what is no single symbol.
    """

    def __init__(self, strategy: Strategy, symbols: Symbols) -> None:
        self.strategy = strategy
        drawable = drawable_symbols(strategy, symbols)
        self.kept = np.flatnonzero(drawable)
        self._out = None if drawable.all() else ~drawable
        self.is_penalizing = strategy.repetition_penalty != 1
        self._is_filtering = any((strategy.top_k, strategy.top_p, strategy.min_p, strategy.typical_p))

    def weights(
        self, log_probs: npt.ArrayLike, temperature: float, recent: Sequence[Collection[int]] | None = None
    ) -> Floats:
        """What is drawn from, not yet scaled to sum to 1.

        Args:
            log_probs: Log-probabilities (N, V), in nats.
            temperature: That of this step.
            recent: For each text the symbols that the repetition penalty is about.

        Returns:
            Weights (N, V).

        Raises:
            ValueError: A row holds NaN, +inf or nothing above -inf.
        """
        values = np.array(log_probs, dtype=np.float64, ndmin=2)
        if self._out is not None:
            values[:, self._out] = -np.inf
        if self.is_penalizing and recent is not None:
            for row, seen in zip(values, recent, strict=True):
                if seen:
                    row[list(set(seen))] *= self.strategy.repetition_penalty
        largest = np.maximum.reduce(values, axis=-1, keepdims=True)
        if not math.isfinite(np.add.reduce(largest, axis=None)):
            strategies.softmax(values)
        values -= largest
        if temperature == 0:
            weights: Floats = np.zeros_like(values)
            weights[np.arange(len(values)), values.argmax(axis=-1)] = 1
            return weights
        if temperature != 1:
            with np.errstate(over="ignore"):
                values /= temperature
        weights = np.exp(values)
        if self._is_filtering:
            self._filter(weights)
        return weights

    def choose(
        self, log_probs: npt.ArrayLike, temperature: float, recent: Collection[int] | None, rng: np.random.Generator
    ) -> int:
        """Draws the next symbol of one text, of log-probabilities (V,): as `draw` from :meth:`weights`, but faster."""
        values = np.array(log_probs, dtype=np.float64)
        if self._out is not None:
            values[self._out] = -np.inf
        if self.is_penalizing and recent:
            values[list(set(recent))] *= self.strategy.repetition_penalty
        largest = values.max()
        if not math.isfinite(largest):
            strategies.softmax(values)
        number = rng.random()
        if temperature == 0:
            return int(values.argmax())
        values -= largest
        if temperature < _SAFE_TEMPERATURE:
            values = strategies.apply_temperature(values, temperature)
        elif temperature != 1:
            values /= temperature
        weights: Floats = np.exp(values, values)
        if self._is_filtering:
            self._filter(weights[None])
        sums = np.add.accumulate(weights)
        place = int(sums.searchsorted(number * sums[-1], "right"))
        return place if place < len(sums) else _last(weights)

    def _filter(self, weights: Floats) -> None:
        strategy = self.strategy
        if strategy.top_k is not None or strategy.top_p is not None:
            _keep_largest(weights, strategy.top_k, strategy.top_p)
        if strategy.min_p is not None:
            weights[weights < strategy.min_p] = 0  # the largest weight is 1, before and after the other two
        if strategy.typical_p is not None and strategy.typical_p < 1:
            _keep_typical(weights, strategy.typical_p)


def draw(weights: Floats, generators: Iterable[np.random.Generator]) -> list[int]:
    """Draws an index for each row, by one uniform number of its own generator; never one of weight zero.

    Args:
        weights: (N, V), of each row at least one positive.
        generators: N of them, each advanced by one double.
    """
    cumulative = weights.cumsum(axis=-1)
    numbers = np.array([generator.random() for generator in generators]) * cumulative[:, -1]
    places: list[int] = np.count_nonzero(cumulative <= numbers[:, None], axis=-1).tolist()
    if max(places) == weights.shape[-1]:
        return [min(place, _last(row)) for place, row in zip(places, weights, strict=True)]
    return places


def _last(weights: Floats) -> int:
    """The last symbol that can be drawn; a number times the sum that rounds up to the whole sum points past it."""
    return int(np.flatnonzero(weights)[-1])


def drawable_symbols(strategy: Strategy, symbols: Symbols) -> npt.NDArray[np.bool_]:
    """Which symbols (V,) are not banned and, if only some are allowed, among them.

    Raises:
        ValueError: None is, or ``banned`` or ``allowed`` names what is no single symbol.
    """
    mask = np.full(symbols.size, strategy.allowed is None)
    if strategy.allowed is not None:
        mask[indices_of(symbols, canonical(symbols, strategy.allowed, ("NFC",)), "allowed")] = True
    mask[indices_of(symbols, canonical(symbols, strategy.banned, ("NFC",)), "banned")] = False
    if not mask.any():
        raise ValueError("banned, allowed: leave no character of the model's vocabulary to draw")
    return mask


def _keep_largest(weights: Floats, top_k: int | None, top_p: float | None) -> None:
    """Sets to 0 what is not among the ``top_k`` largest, nor in the nucleus of ``top_p`` of these."""
    order = _flat((-weights).argsort(axis=-1, kind="stable"))
    kept = order[:, :top_k]
    weights.put(order[:, kept.shape[1] :], 0.0)
    if top_p is not None and top_p < 1:
        _keep_first(weights, kept, top_p)


def _keep_typical(weights: Floats, p: float) -> None:
    """Sets to 0 what is not in the locally typical set of ``p``."""
    shares = weights / weights.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        information = -np.log(shares)
    entropy = shares * np.where(shares > 0, information, 0)
    distance = np.abs(information - entropy.sum(axis=-1, keepdims=True))
    _keep_first(weights, _flat(distance.argsort(axis=-1, kind="stable")), p)


def _keep_first(weights: Floats, order: npt.NDArray[np.intp], p: float) -> None:
    """Sets to 0 what comes in ``order`` after the first, at least one, that together have the share ``p`` of all."""
    cumulative = weights.take(order).cumsum(axis=-1)
    outside = cumulative[:, :-1] >= p * cumulative[:, -1:]
    weights.put(order[:, 1:][outside], 0.0)


def _flat(order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Places in rows (N, V) as places in all of them one after the other."""
    count, size = order.shape
    return order if count == 1 else order + np.arange(0, count * size, size)[:, None]
