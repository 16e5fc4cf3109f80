"""Beam search: the likeliest continuations of a text, without sampling.

Dimensions: B beams, N branches (at most B), V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation.engine import Predictor, PredictorStreams
from char_rnn.generation.generation_state import StopText
from char_rnn.generation.sampler import drawable_symbols
from char_rnn.generation.unknown_characters import Unknown, encode_prime
from char_rnn.sampling.options import LENGTH, Range, Strategy
from char_rnn.sampling.strategies import Floats, Mask, keep_only, largest_of

MOST_BEAMS = 1024


@dataclass(frozen=True)
class BeamText:
    """A text found by the search.

    Attributes:
        text: The text added to the prime.
        log_probability: Sum over all its symbols, in nats; of a stopped text, including those of the stop text.
    """

    text: str
    log_probability: float


@dataclass(frozen=True)
class _Branch:
    """A text in progress: its log-probability and symbols, the next symbol to read, and the state before that."""

    total: float
    symbols: tuple[int, ...]
    read: int
    state: Any
    ended: bool = False


def beam_search(
    model: Predictor,
    vocabulary: Vocabulary,
    prime_text: str = "",
    length: int = 1000,
    beams: int = 4,
    *,
    banned: str = "",
    allowed: str | None = None,
    stop: str | Sequence[str] | None = None,
    stop_at_newline: bool = False,
    keep_stop: bool = False,
    unknown: Unknown = "error",
) -> list[BeamText]:
    """Find the likeliest continuations of a text with a beam of ``beams`` texts.

    Each step keeps the best ``beams`` of all texts that are a symbol longer and of those that have reached a stop text.
    The search ends when all have, or at ``length``. Log-probabilities are not normalized by length, which favours the
    shorter of two stopped texts. Without a prime all first symbols start with the same probability.

    Args:
        model: An `Engine`, or another `Predictor`.
        vocabulary: Its vocabulary.
        prime_text: Text to continue.
        length: Largest number of symbols to add.
        beams: B; 1 is the greedy text.
        banned: Characters that are never written.
        allowed: The only characters written; ``None`` = all.
        stop: A text ends before this, or before the first of these.
        stop_at_newline: A text ends before a line end, too.
        keep_stop: A text ends with its stop text instead of before it.
        unknown: Treatment of prime characters that the vocabulary lacks; see `spelled`.

    Returns:
        At most B texts, the likeliest first; of equally likely texts, the one with the smaller symbols.

    Raises:
        UnknownCharacterError: ``prime_text`` has an unknown character.
        ValueError: Another argument is out of range, or the model's predictions are not numbers.
    """
    LENGTH.check("length", length)
    Range(int, 1, MOST_BEAMS).check("beams", beams)
    stops = StopText(stop, stop_at_newline, vocabulary).stops
    drawable = drawable_symbols(Strategy(banned=banned, allowed=allowed), vocabulary)
    search = _Search(model.begin(beams), drawable, tuple(_endings(vocabulary, stops)))
    branches = search.run(encode_prime(vocabulary, prime_text, unknown).tolist(), length)
    if length == 0:
        return [BeamText("", 0.0)]
    return [
        BeamText(_text(vocabulary, branch, StopText(stops, keep=keep_stop)), branch.total)
        for branch in branches[:beams]
    ]


class _Search:
    """Extends branches, with B streams; `endings` are the stop texts in symbols."""

    def __init__(self, streams: PredictorStreams, drawable: Mask, endings: tuple[tuple[int, ...], ...]) -> None:
        self._streams, self._drawable, self._endings = streams, drawable, endings

    def run(self, prime: list[int], length: int) -> list[_Branch]:
        """The branches at ``length`` symbols, or when all have ended, the best first."""
        branches = self._roots(prime)
        for _ in range(length if prime else length - 1):
            if all(branch.ended for branch in branches):
                break
            branches = self._extended(branches)
        return branches

    def _roots(self, prime: list[int]) -> list[_Branch]:
        """The branch that has read the prime but its last symbol; without a prime, a branch for each first symbol."""
        if prime:
            self._streams.feed(prime[:-1])
            return [_Branch(0.0, (), prime[-1], self._streams.state())]
        first, state = np.flatnonzero(self._drawable).tolist(), self._streams.state()
        return [self._branch(-math.log(len(first)), (symbol,), state) for symbol in first]

    def _extended(self, branches: list[_Branch]) -> list[_Branch]:
        """The best B of the ended branches and of all extensions of the others, the best first."""
        ended = [branch for branch in branches if branch.ended]
        live = [branch for branch in branches if not branch.ended]
        log_probs, states = self._predicted(live)
        totals = np.array([branch.total for branch in live])[:, None] + log_probs
        order = np.argsort(-totals, axis=None, kind="stable")[: len(self._streams)].tolist()
        for row, symbol in (divmod(place, totals.shape[1]) for place in order):
            if (total := float(totals[row, symbol])) > -math.inf:
                ended.append(self._branch(total, (*live[row].symbols, symbol), states[row]))
        return sorted(ended, key=lambda branch: -branch.total)[: len(self._streams)]

    def _branch(self, total: float, symbols: tuple[int, ...], state: Any) -> _Branch:
        ended = any(symbols[-len(ending) :] == ending for ending in self._endings)
        return _Branch(total, symbols, symbols[-1], state, ended)

    def _predicted(self, branches: list[_Branch]) -> tuple[Floats, list[Any]]:
        """Log-probabilities (N, V) of the next symbols, and the states after reading."""
        log_probs, states = [], []
        for start in range(0, len(branches), len(self._streams)):
            part = branches[start : start + len(self._streams)]
            for row, branch in enumerate(part):
                self._streams.set_state(branch.state, row)
            rows = range(len(part))
            log_probs.append(self._streams.step([branch.read for branch in part], rows))
            states += [self._streams.state(row) for row in rows]
        kept = keep_only(np.concatenate(log_probs), self._drawable)
        largest_of(kept)  # raises where nothing can be written
        return kept, states


def _endings(vocabulary: Vocabulary, stops: tuple[str, ...]) -> Iterator[tuple[int, ...]]:
    """The stop texts in symbols, but those that the vocabulary cannot write."""
    for stop in stops:
        with suppress(UnknownCharacterError):
            yield tuple(vocabulary.encode(stop).tolist())


def _text(vocabulary: Vocabulary, branch: _Branch, stop_text: StopText) -> str:
    text = stop_text.feed(vocabulary.decoder().decode(branch.symbols))
    return text if stop_text.found else text + stop_text.rest()
