"""Draws symbols from a model's predictions.

Dimensions: N texts, V vocabulary; ``...`` is nothing or N.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.unknown_characters import canonical, knowing
from char_rnn.sampling.options import Strategy
from char_rnn.sampling.strategies import (
    FILTERS,
    Floats,
    Mask,
    apply_filters,
    apply_temperature,
    draw,
    keep_only,
    penalize_repetition,
)


class Sampler:
    """A strategy for one vocabulary.

    Attributes:
        drawable: Indices of the symbols that can be drawn.
        is_penalizing: Whether there is a repetition penalty.
        filters: Values of the filters in use, by the names of their options.

    Raises:
        ValueError: ``banned`` and ``allowed`` leave nothing to draw, or contain something that is not a single symbol.
    """

    def __init__(self, strategy: Strategy, vocabulary: Vocabulary) -> None:
        self.strategy = strategy
        drawable = drawable_symbols(strategy, vocabulary)
        self.drawable = np.flatnonzero(drawable)
        self._mask = None if drawable.all() else drawable
        self.is_penalizing = strategy.repetition_penalty != 1
        self.filters = {name: value for name in FILTERS if (value := getattr(strategy, name)) is not None}

    def weights(
        self, log_probs: npt.ArrayLike, temperature: float, recent: Sequence[Collection[int]] | None = None
    ) -> Floats:
        """The probabilities (..., V) to draw from, up to a factor for each text, from log-probabilities in nats.

        `recent` are, for each text, the symbols that the repetition penalty applies to.

        Raises:
            PredictionError: A row has a NaN or +inf, or nothing above -inf.
        """
        values = np.array(log_probs, np.float64)
        if self._mask is not None:
            values = keep_only(values, self._mask)
        if self.is_penalizing and recent is not None:
            penalty = self.strategy.repetition_penalty
            for row, seen in zip(np.atleast_2d(values), recent, strict=True):
                penalize_repetition(row, seen, penalty)
        weights = apply_temperature(values, temperature)
        return apply_filters(weights, self.filters) if self.filters else weights

    def choose(
        self, log_probs: npt.ArrayLike, temperature: float, recent: Collection[int] | None, rng: np.random.Generator
    ) -> int:
        """Draw the next symbol of one text from its log-probabilities (V,); advances `rng` by one double."""
        weights = self.weights(log_probs, temperature, None if recent is None else (recent,))
        return draw(weights, rng.random())


def drawable_symbols(strategy: Strategy, vocabulary: Vocabulary) -> Mask:
    """Mask (V,) of the symbols that are allowed and not banned.

    Raises:
        ValueError: There are none, or ``banned`` or ``allowed`` contains something that is not a single symbol.
    """
    mask = np.full(vocabulary.size, strategy.allowed is None)
    if strategy.allowed is not None:
        mask[_indices_of(vocabulary, strategy.allowed, "allowed")] = True
    mask[_indices_of(vocabulary, strategy.banned, "banned")] = False
    if not mask.any():
        raise ValueError("banned and allowed leave no character of the model's vocabulary to draw")
    return mask


def _indices_of(vocabulary: Vocabulary, characters: str, name: str) -> list[int]:
    """Indices of the known ones of some characters, which the option `name` has."""
    indices = []
    for character in filter(knowing(vocabulary), canonical(vocabulary, characters, ("NFC",))):
        encoded = vocabulary.encode(character)
        if len(encoded) != 1:
            raise ValueError(
                f"{name}: {character!r} is {len(encoded)} bytes, and this model writes byte by byte;"
                " name characters of one byte (ASCII) only"
            )
        indices.append(int(encoded[0]))
    return indices
