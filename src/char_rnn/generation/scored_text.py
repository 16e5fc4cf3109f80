"""A text symbol by symbol, with the model's predictions at each position.

Dimensions: V vocabulary.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Predictions, Predictor, read
from char_rnn.generation.generation_state import GenerationState
from char_rnn.sampling.strategies import largest_of


@dataclass(frozen=True)
class ScoredSymbol:
    """A symbol of a text, and what the model predicted, before temperature and filters.

    Attributes:
        text: The characters that the symbol completes; empty for all bytes of a character except the last.
        symbol: The symbol as it is shown: a character, or for a byte that is not a character alone ``\\xC3``.
        log_probability: In nats. Without text before it, all symbols are equally likely.
        alternatives: The likeliest symbols and their log-probabilities, the likeliest first.
        is_prime: Whether it belongs to the prime.
    """

    text: str
    symbol: str
    log_probability: float
    alternatives: Mapping[str, float] = field(default_factory=dict)
    is_prime: bool = False


def scored_text(
    model: Predictor, vocabulary: Vocabulary, state: GenerationState, alternatives: int = 0
) -> Iterator[ScoredSymbol]:
    """Yield the symbols of the prime, as the model reads it, and those of the text, which is written meanwhile.

    Args:
        model: An `Engine`, or another `Predictor`.
        vocabulary: Its vocabulary.
        state: The text to write.
        alternatives: Number of likeliest symbols to list with each.

    Raises:
        PredictionError: The model predicts NaN, for example after a diverged training.
    """
    # Row 1 reads the prime to score it: a PyTorch model that reads it at once, as row 0, rounds differently.
    streams = model.begin(2)
    prime, log_probs = _Scorer(vocabulary, alternatives), None
    for index in state.prime.tolist():
        yield replace(prime.scored(index, log_probs), is_prime=True)
        log_probs = streams.step([index], [1])[0]
    text, waiting, certain = _Scorer(vocabulary, alternatives), deque[ScoredSymbol](), ""
    log_probs = read(streams, state.prime) if len(state.prime) and not state.done else None
    while not state.done:
        symbol = state.begin() if log_probs is None else state.choose(log_probs)
        assert symbol is not None
        waiting.append(text.scored(symbol, log_probs))
        certain += state.text()
        while (count := _whole(waiting, certain)) is not None:
            yield from (whole := [waiting.popleft() for _ in range(count)])
            certain = certain.removeprefix(whole[-1].text)
        if not state.done:
            log_probs = streams.step([symbol], [0])[0]
    if not state.stopped:
        yield from waiting  # the bytes of an incomplete character
    elif certain and waiting:  # a stop text begins within the text of one symbol
        yield replace(waiting[0], text=certain)


def _whole(waiting: deque[ScoredSymbol], certain: str) -> int | None:
    """Count the symbols up to the next that completes characters; ``None`` if those are not yet certain."""
    found = ((count, symbol) for count, symbol in enumerate(waiting, 1) if symbol.text)
    count, symbol = next(found, (0, None))
    return count if symbol is not None and len(symbol.text) <= len(certain) else None


class _Scorer:
    """Describes the symbols of a text, one after the other."""

    def __init__(self, vocabulary: Vocabulary, alternatives: int) -> None:
        self._decoder, self._labels, self._alternatives = vocabulary.decoder(), vocabulary.labels, alternatives

    def scored(self, symbol: int, log_probs: Predictions | None) -> ScoredSymbol:
        """Describe the next symbol, predicted by log-probabilities (V,)."""
        text, label = self._decoder.decode([symbol]), self._labels[symbol]
        if log_probs is None:
            return ScoredSymbol(text, label, -math.log(len(self._labels)))
        largest_of(log_probs.astype(np.float64))  # raises an error for NaN, which JSON cannot represent
        best = dict(likeliest(self._labels, log_probs, self._alternatives))
        return ScoredSymbol(text, label, float(log_probs[symbol]), best)


def likeliest(labels: Sequence[str], log_probs: Predictions, count: int) -> list[tuple[str, float]]:
    """Return the labels of the likeliest symbols with their log-probabilities, from log-probabilities (V,)."""
    if not count:
        return []
    best = (-log_probs).argsort(kind="stable")[:count]
    return [(labels[index], log_prob) for index, log_prob in zip(best.tolist(), log_probs[best].tolist(), strict=True)]
