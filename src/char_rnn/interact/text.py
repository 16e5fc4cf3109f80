"""A text that grows and shrinks at its end while a model reads it, and the edits that can be undone.

Dimensions: V vocabulary.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import TextDecoder, Vocabulary
from char_rnn.generation.engine import Engine

MEMORY = 32 << 20  # bytes of the states saved along a text; with less, undoing reads more of it again
FEWEST_POINTS, MOST_POINTS = 32, 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """A symbol of the text.

    Attributes:
        symbol: Its index.
        text: The characters that it completes: none, or mostly one.
        drawn: Whether the model drew it.
        chosen: Whether the person typed it, or chose it from what the model offered.
    """

    symbol: int
    text: str
    drawn: bool
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """The model after some text: its state, and the log-probabilities (V,) of the next symbol."""

    state: Any
    log_probs: npt.NDArray[np.floating[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.log_probs.nbytes + sum(np.asarray(part).nbytes for part in self.state))


SavedPoint = tuple[int, Point]
"""A point, after the number of symbols before it."""


@dataclass(slots=True)
class Edit:
    """A change at the end of the text.

    Attributes:
        kept: Number of unchanged letters before it.
        removed: The letters removed.
        added: The letters added.
        typed: Whether later typing may be joined to it.
        points: Points within the letters that are not in the text now: those removed or, while it is undone, added.
    """

    kept: int
    removed: tuple[Letter, ...]
    added: tuple[Letter, ...]
    typed: bool = False
    points: Sequence[SavedPoint] = ()

    def takes(self, later: Edit) -> bool:
        """Whether a later edit continues the same word."""
        if not (self.typed and later.typed and later.kept == self.kept + len(self.added)):
            return False
        return not (self.added[-1].text[-1:].isspace() and not later.added[-1].text[-1:].isspace())


class Trail:
    """Points along the text: all of the last ones, and fewer the farther back.

    Their largest number is at least 32, more than the logarithm of a text's length.
    """

    def __init__(self, limit: int, first: Point) -> None:
        self._limit = limit
        self._points: list[SavedPoint] = [(0, first)]

    @property
    def last(self) -> SavedPoint:
        """The last point, and the number of symbols before it."""
        return self._points[-1]

    def __len__(self) -> int:
        return len(self._points)

    def add(self, place: int, point: Point) -> None:
        """Add a point after all others."""
        self._points.append((place, point))
        if len(self._points) > self._limit:
            reach = self._limit // 2
            while len(self._points) > self._limit * 3 // 4 and reach:
                self._thin_out(place, reach)
                reach //= 2

    def cut(self, place: int) -> list[SavedPoint]:
        """Remove the points after a place; return them."""
        kept = bisect_right(self._points, place, key=lambda point: point[0])
        gone = self._points[kept:]
        del self._points[kept:]
        return gone

    def _thin_out(self, end: int, reach: int) -> None:
        """Keep the last `reach` points, every second of as many before, every fourth of twice as many before those."""
        seen: dict[tuple[int, int], SavedPoint] = {}
        for place, point in self._points:
            size = 1 << ((end - place) // reach).bit_length()
            seen.setdefault((size, place // size), (place, point))
        self._points = list(seen.values())


class EditHistory:
    """The edits of a text, for undo and redo.

    Of those done, and of those undone, the last keeps all its points, and `limit` before it one each.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._done: list[Edit] = []
        self._undone: list[Edit] = []

    def add(self, edit: Edit) -> None:
        """Record an edit; undone edits can no longer be redone."""
        self._undone.clear()
        if self._done and self._done[-1].takes(edit):
            self._done[-1].added += edit.added
        else:
            self._push(edit, self._done)

    def undo(self) -> Edit | None:
        """Take back the last edit; return it."""
        return self._push(self._done.pop(), self._undone) if self._done else None

    def redo(self) -> Edit | None:
        """Repeat the last undone edit; return it."""
        return self._push(self._undone.pop(), self._done) if self._undone else None

    def _push(self, edit: Edit, edits: list[Edit]) -> Edit:
        if edits:
            edits[-1].points = edits[-1].points[-1:]
        edits.append(edit)
        if len(edits) > self._limit + 1:
            edits[-2 - self._limit].points = ()
        return edit


class LiveText:
    """The symbols of a text, and the model after them.

    Stream 0 of the engine reads the text; there are as many ``others``.

    Attributes:
        letters: The text.
        log_probs: Log-probabilities (V,) of the next symbol, in nats; uniform before any text.
        streams: The engine's streams.
        points: Largest number of saved points.
    """

    def __init__(self, engine: Engine, vocabulary: Vocabulary, others: int) -> None:
        self.vocabulary = vocabulary
        self.letters: list[Letter] = []
        self.streams = engine.begin(1 + others)
        self.log_probs = self._uniform()
        self.points = min(max(FEWEST_POINTS, MEMORY // self.point().nbytes), MOST_POINTS)
        self._trail = Trail(self.points, self.point())
        self._decoder = self.decoder()

    def __len__(self) -> int:
        return len(self.letters)

    def read(self, symbol: int, *, drawn: bool, chosen: bool) -> str:
        """Add a symbol; return the characters that it completes."""
        self._step(symbol)
        piece = self._decoder.decode((symbol,))
        self.letters.append(Letter(symbol, piece, drawn, chosen))
        self._save()
        return piece

    @property
    def is_behind(self) -> bool:
        """Whether the model has not learned from all of the text yet."""
        return False

    def catch_up(self) -> Iterator[int]:
        """Learn from the text; yield the number of segments that are left before each."""
        yield from ()

    def rewrite(self, kept: int, added: Sequence[Letter], points: Sequence[SavedPoint] = ()) -> Sequence[SavedPoint]:
        """Replace the text after its first `kept` letters; return the points within the removed letters.

        `points` are known ones within the `added` letters. The model reads what comes after the last known point.
        """
        gone = self._trail.cut(kept)
        for place, point in points:
            self._trail.add(place, point)
        known, point = self._trail.last
        self.letters[kept:] = added
        rest = self.letters[known:]
        del self.letters[known:]
        self.streams.set_state(point.state, 0)
        self.log_probs = point.log_probs
        self._decoder = self.decoder()
        for letter in rest:
            self.read(letter.symbol, drawn=letter.drawn, chosen=letter.chosen)
        return gone

    def point(self) -> Point:
        """The model after the text."""
        return Point(self.streams.state(0), self.log_probs)

    def decoder(self) -> TextDecoder:
        """A decoder that has read the text; of UTF-8, at most three bytes wait for a fourth."""
        decoder = self.vocabulary.decoder()
        decoder.decode([letter.symbol for letter in self.letters[-3:]])
        return decoder

    def since(self, start: int) -> tuple[Letter, ...]:
        """The letters from a place on."""
        return tuple(self.letters[start:])

    def said(self, start: int = 0, end: int | None = None) -> str:
        """The characters of some letters."""
        return "".join([letter.text for letter in self.letters[start:end]])

    def character_before(self, end: int) -> int:
        """Start of the last character before a place; incomplete bytes after it belong to it."""
        start = max(0, end - 1)
        while start > 0 and not self.letters[start].text:
            start -= 1
        while start > 0 and not self.letters[start - 1].text:
            start -= 1
        return start

    def _save(self) -> None:
        self._trail.add(len(self), self.point())

    def _uniform(self) -> npt.NDArray[Any]:
        return np.full(self.vocabulary.size, -np.log(self.vocabulary.size), np.float32)

    def _step(self, symbol: int) -> None:
        self.log_probs = self.streams.step((symbol,), (0,))[0]
