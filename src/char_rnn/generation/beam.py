"""Beam search: the likeliest texts that a model can go on with, without drawing.

Dimensions: B beams, N branches (at most B), V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import UnknownCharacterError
from char_rnn.generation.predictor import Predictor, Streams
from char_rnn.generation.sampler import drawable_symbols
from char_rnn.generation.spelling import Unknown, encode_prime
from char_rnn.generation.stopping import StopText
from char_rnn.generation.symbols import Symbols
from char_rnn.sampling.options import LENGTH, Range, Strategy
from char_rnn.sampling.strategies import Floats, keep_only, largest_of

MOST_BEAMS = 1024


@dataclass(frozen=True)
class BeamText:
    """One of the texts found.

    Attributes:
        text: What was added to the prime text.
        log_probability: Of all its symbols, in nats; of a text that was stopped, those of the stop text among them.
    """

    text: str
    log_probability: float


@dataclass(frozen=True)
class _Branch:
    """A text on the way: its sum of log-probabilities, its symbols, what is to be read next and the state before it."""

    total: float
    symbols: tuple[int, ...]
    read: int
    state: Any
    ended: bool = False


def beam_search(
    model: Predictor,
    symbols: Symbols,
    prime_text: str = "",
    length: int = 1000,
    beams: int = 4,
    *,
    banned: str = "",
    allowed: str | None = None,
    stop: str | Sequence[str] | None = None,
    stop_at_newline: bool = False,
    unknown: Unknown = "error",
) -> list[BeamText]:
    """Find the likeliest continuations of a text, as far as a beam of ``beams`` texts sees.

    At each step the best ``beams`` of all texts longer by a symbol stay, those that have reached a stop text among
    them; it ends when all have, or at ``length``. Sums of log-probabilities are compared as they are, so that of two
    stopped texts the shorter is often ahead. Without a prime text all first symbols are tried, each as likely.

    Args:
        model: What predicts: an `Engine`, or what stands for one.
        symbols: Its vocabulary.
        prime_text: Text to continue.
        length: The most symbols to add.
        beams: B; 1 is the greedy text.
        banned: Characters never written.
        allowed: Only these are written; ``None`` = all.
        stop: A text ends before this, or before the first of these.
        stop_at_newline: It ends before the end of a line, too.
        unknown: What to do with characters of ``prime_text`` that the vocabulary has not: see `spelled`.

    Returns:
        At most B texts, the likeliest first; of equally likely ones that of the earlier symbols.

    Raises:
        UnknownCharacterError: ``prime_text`` has a character that the vocabulary has not.
        ValueError: Another argument is out of range, or the model gives no usable numbers.
    """
    LENGTH.check("length", length)
    Range(int, 1, MOST_BEAMS).check("beams", beams)
    stops = StopText(stop, stop_at_newline, symbols).stops
    drawable = drawable_symbols(Strategy(banned=banned, allowed=allowed), symbols)
    search = _Search(model.begin(beams), drawable, tuple(_endings(symbols, stops)))
    branches = search.run(encode_prime(symbols, prime_text, unknown).tolist(), length)
    if length == 0:
        return [BeamText("", 0.0)]
    return [BeamText(_text(symbols, branch, stops), branch.total) for branch in branches[:beams]]


class _Search:
    """Makes branches grow.

    Args:
        streams: B of them, to predict with.
        drawable: Which symbols may be written, (V,).
        endings: What ends a text, in symbols.
    """

    def __init__(self, streams: Streams, drawable: npt.NDArray[np.bool_], endings: tuple[tuple[int, ...], ...]) -> None:
        self._streams, self._drawable, self._endings = streams, drawable, endings

    def run(self, prime: list[int], length: int) -> list[_Branch]:
        """The branches at ``length`` symbols, or when all have ended, best first."""
        branches = self.roots(prime)
        for _ in range(length if prime else length - 1):
            if all(branch.ended for branch in branches):
                break
            branches = self.grown(branches)
        return branches

    def roots(self, prime: list[int]) -> list[_Branch]:
        """The branch that has read the prime text but for its last symbol; without one, a branch a first symbol."""
        if prime:
            self._streams.feed(prime[:-1])
            return [_Branch(0.0, (), prime[-1], self._streams.state())]
        first, state = np.flatnonzero(self._drawable).tolist(), self._streams.state()
        return [self._branch(-math.log(len(first)), (symbol,), state) for symbol in first]

    def grown(self, branches: list[_Branch]) -> list[_Branch]:
        """The best B of the branches that have ended and all that the others can become, best first."""
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
        """Log-probabilities (N, V) of what comes next, and the states after reading."""
        log_probs, states = [], []
        for start in range(0, len(branches), len(self._streams)):
            part = branches[start : start + len(self._streams)]
            for row, branch in enumerate(part):
                self._streams.set_state(branch.state, row)
            rows = range(len(part))
            log_probs.append(self._streams.step([branch.read for branch in part], rows))
            states += [self._streams.state(row) for row in rows]
        kept = keep_only(np.concatenate(log_probs), self._drawable)
        largest_of(kept)
        return kept, states


def _endings(symbols: Symbols, stops: tuple[str, ...]) -> Iterator[tuple[int, ...]]:
    """The stop texts in symbols; without those that the vocabulary cannot write."""
    for stop in stops:
        with suppress(UnknownCharacterError):
            yield tuple(symbols.encode(stop).tolist())


def _text(symbols: Symbols, branch: _Branch, stops: tuple[str, ...]) -> str:
    stop_text = StopText(stops)
    text = stop_text.feed(symbols.decoder().decode(branch.symbols))
    return text if stop_text.found else text + stop_text.rest()
