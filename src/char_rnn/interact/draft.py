"""A text that a person and a model write in turn, without the terminal around it.

The text changes at its end only. The model reads each symbol as it is added, and its state is saved at many places of
the text, so that undoing restores the same numbers.

Dimensions: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.learning import Learning
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.unknown_characters import spelled
from char_rnn.interact.learning_text import LearningText
from char_rnn.interact.text import Edit, EditHistory, Letter, LiveText, Point
from char_rnn.sampling.options import Strategy
from char_rnn.utils.files import replacing

ALTERNATIVES = 5
MOST = {"word": 80, "line": 1000}  # symbols, if no end comes
HIGHEST = 5.0
LONGEST_CHARACTER = 4  # bytes of UTF-8

Until = Literal["word", "line"] | int


@dataclass(frozen=True)
class Alternative:
    """A possible continuation: its text, its letters, and the model after it."""

    text: str
    letters: tuple[Letter, ...]
    end: Point


@dataclass(frozen=True)
class Candidate:
    r"""A possible next symbol: its index, its character (``\xC3`` for an incomplete character), its probability."""

    symbol: int
    text: str
    probability: float


class Draft:
    """The text, the model after it, and the history of edits.

    The prime, with which the text begins, cannot be undone; ``notes`` are its replaced or skipped characters. The
    temperature of the strategy can be changed. Without a seed, texts differ each time. A `Learning` in place of the
    engine learns from what is typed or chosen.
    """

    def __init__(
        self,
        engine: Engine | Learning,
        vocabulary: Vocabulary,
        strategy: Strategy = Strategy(),  # noqa: B008 (frozen)
        *,
        seed: int | None = None,
        prime: str = "",
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._strategy = strategy
        self._sampler = Sampler(strategy, vocabulary)
        self._live = (
            LearningText(engine, vocabulary, ALTERNATIVES)
            if isinstance(engine, Learning)
            else LiveText(engine, vocabulary, ALTERNATIVES)
        )
        self._history = EditHistory(self._live.points)
        self.notes = self.type(prime)
        self._history = EditHistory(self._live.points)

    def __len__(self) -> int:
        """Number of symbols in the text."""
        return len(self._live)

    @property
    def unit(self) -> str:
        """Kind of symbol: "character" or "byte"."""
        return self._live.vocabulary.unit

    @property
    def text(self) -> str:
        """The text without incomplete bytes at its very end."""
        return self._live.said()

    def stretches(self, start: int = 0, end: int | None = None) -> list[tuple[str, bool]]:
        """The text of some symbols in pieces, each with whether the model wrote it."""
        groups = groupby(self._live.letters[start:end], lambda letter: letter.drawn)
        return [("".join([letter.text for letter in letters]), drawn) for drawn, letters in groups]

    def waiting(self) -> list[tuple[str, bool]]:
        r"""The incomplete bytes at the end, as ``\xC3``, each with whether the model wrote it."""
        letters = takewhile(lambda letter: not letter.text, reversed(self._live.letters[-LONGEST_CHARACTER:]))
        return [(self._live.vocabulary.labels[letter.symbol], letter.drawn) for letter in letters][::-1]

    @property
    def temperature(self) -> float:
        """Divides the log-probabilities; 0 = the likeliest symbol."""
        return self._strategy.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._strategy = replace(self._strategy, temperature=round(min(max(value, 0.0), HIGHEST), 4))
        self._sampler = Sampler(self._strategy, self._live.vocabulary)

    def type(self, text: str) -> list[str]:
        """Add what a person typed.

        Returns:
            A note for each character that the vocabulary lacks, replaced by the nearest or left out.
        """
        spelling = spelled(self._live.vocabulary, text, "nearest")
        for character in spelling.text:
            start = len(self)
            for symbol in self._live.vocabulary.encode(character).tolist():
                self._live.read(symbol, drawn=False, chosen=True)
            self._record(start, typed=True)
        return [
            f"{given!r} ({' '.join(f'U+{ord(each):04X}' for each in given)}) "
            + (f"written as {read!r}" if read else "left out")
            for given, read in spelling.substitutions.items()
        ]

    @property
    def learns(self) -> bool:
        """Whether the model learns from the text."""
        return isinstance(self._live, LearningText)

    @property
    def is_behind(self) -> bool:
        """Whether the model has not learned from all of the text yet; it does before it writes."""
        return self._live.is_behind

    def catch_up(self) -> Iterator[int]:
        """Let the model learn from the text, if it learns; yield the number of segments left before each."""
        return self._live.catch_up()

    def erase(self, *, word: bool = False) -> bool:
        """Remove the last character, or the last word with the space after it; return whether there was one."""
        live = self._live
        start = live.character_before(len(live))
        while word and start:
            before = live.character_before(start)
            if not live.said(start).isspace() and live.said(before, start).isspace():
                break
            start = before
        removed = live.since(start)
        if removed:
            self._history.add(Edit(start, removed, (), points=live.rewrite(start, ())))
        return bool(removed)

    def proceed(self, until: Until) -> Generator[str, None, None]:
        """Let the model write: to the end of a word and the space after it, of the line, or a number of symbols.

        Yields the text as it is written. Closing the generator stops it; the text so far remains, as one step to undo.

        Raises:
            PredictionError: The model's predictions are not numbers.
        """
        start, written = len(self), ""
        most = MOST[until] if isinstance(until, str) else until
        rng = np.random.default_rng(self._seed())
        for _ in self.catch_up():
            yield ""
        try:
            while len(self) - start < most and not self._is_end(until, written):
                piece = self._live.read(self._draw(self._live.log_probs, (), rng), drawn=True, chosen=False)
                self._learn()
                written += piece
                yield piece
        finally:
            self._record(start)

    def alternatives(self, length: int = 40) -> list[Alternative]:
        """Different continuations of `length` symbols; at temperature 0, of the likeliest next symbols in order.

        Raises:
            PredictionError: The model's predictions are not numbers.
        """
        self._learn()
        streams, rows = self._live.streams, range(1, 1 + ALTERNATIVES)
        generators = [np.random.default_rng(self._seed()) for _ in rows]
        for row in rows:
            streams.set_state(streams.state(0), row)
        predictions = np.tile(self._live.log_probs, (ALTERNATIVES, 1))
        symbols: list[list[int]] = [[] for _ in rows]
        if self.temperature == 0 and length:
            best = np.argsort(-self._live.log_probs, kind="stable")
            symbols = [[int(best[row % len(best)])] for row in range(ALTERNATIVES)]
            predictions = streams.step([own[-1] for own in symbols], rows)
        while len(symbols[0]) < length:
            for own, prediction, rng in zip(symbols, predictions, generators, strict=True):
                own.append(self._draw(prediction, own, rng))
            predictions = streams.step([own[-1] for own in symbols], rows)
        first = {tuple(own): row for row, own in zip(reversed(rows), reversed(symbols), strict=True)}
        return [
            self._alternative(own, Point(streams.state(row), predictions[row - 1]))
            for row, own in zip(rows, symbols, strict=True)
            if first[tuple(own)] == row
        ]

    def accept(self, alternative: Alternative) -> None:
        """Add one of the :meth:`alternatives` of this text."""
        added = tuple(replace(letter, chosen=True) for letter in alternative.letters)
        self._history.add(Edit(len(self), (), added))
        self._live.rewrite(len(self), added, [(len(self) + len(added), alternative.end)])

    def likeliest(self, count: int) -> list[Candidate]:
        """The likeliest next symbols, with the probabilities of the sampler; none with probability 0.

        Raises:
            PredictionError: The model's predictions are not numbers.
        """
        recent = [self._recent(())] if self._sampler.is_penalizing else None
        weights = self._sampler.weights(self._live.log_probs, self.temperature, recent)
        shares = weights / weights.sum()
        order = np.argsort(-shares, kind="stable")[:count].tolist()
        labels = self._live.vocabulary.labels
        return [Candidate(symbol, labels[symbol], float(shares[symbol])) for symbol in order if shares[symbol]]

    def choose(self, symbol: int) -> None:
        """Add a symbol of :meth:`likeliest`."""
        start = len(self)
        self._live.read(symbol, drawn=True, chosen=True)
        self._record(start)

    def undo(self) -> bool:
        """Undo the last step; return whether there was one. The model's state is restored bit for bit."""
        edit = self._history.undo()
        if edit is not None:
            edit.points = self._live.rewrite(edit.kept, edit.removed, edit.points)
        return edit is not None

    def redo(self) -> bool:
        """Redo the last undone step; return whether there was one."""
        edit = self._history.redo()
        if edit is not None:
            edit.points = self._live.rewrite(edit.kept, edit.added, edit.points)
        return edit is not None

    def _learn(self) -> None:
        for _ in self.catch_up():
            pass

    def _record(self, start: int, *, typed: bool = False) -> None:
        """Record what was added from a place on as one step."""
        if len(self) > start:
            self._history.add(Edit(start, (), self._live.since(start), typed))

    def _draw(self, log_probs: npt.NDArray[Any], more: Sequence[int], rng: np.random.Generator) -> int:
        recent = self._recent(more) if self._sampler.is_penalizing else None
        return self._sampler.choose(log_probs, self.temperature, recent, rng)

    def _recent(self, more: Sequence[int]) -> list[int]:
        """The last symbols of the text, with `more` after it, that a repetition penalty applies to."""
        window = self._strategy.repetition_window
        return [*(letter.symbol for letter in self._live.letters[-window:]), *more][-window:]

    def _alternative(self, symbols: Sequence[int], end: Point) -> Alternative:
        decoder = self._live.decoder()
        letters = tuple(Letter(symbol, decoder.decode((symbol,)), True) for symbol in symbols)
        return Alternative("".join(letter.text for letter in letters), letters, end)

    def _is_end(self, until: Until, written: str) -> bool:
        if until == "word":
            return bool(written.strip()) and written[-1].isspace()
        return until == "line" and written.endswith(self._live.vocabulary.line_end or "\n")

    def _seed(self) -> int:
        return int(self._rng.integers(1 << 62))


def save(text: str, path: str | Path) -> None:
    """Write a text to a file in one step, as UTF-8: an older file remains until the new one is complete.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
