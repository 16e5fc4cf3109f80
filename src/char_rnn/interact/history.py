"""What an interactive text remembers: where the model stood at its places, and what was done to it.

Dimensions: V vocabulary.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Letter:
    """A symbol of the text, the characters that it completes (none, or one, mostly), and whether the model drew it."""

    symbol: int
    text: str
    drawn: bool


@dataclass(frozen=True, slots=True)
class Point:
    """Where the model stands after some text: its state, and the log-probabilities (V,) of what comes next."""

    state: Any
    log_probs: npt.NDArray[np.floating[Any]]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return int(self.log_probs.nbytes + sum(np.asarray(part).nbytes for part in self.state))


Place = tuple[int, Point]
"""A point, after the number of symbols before it."""


@dataclass(slots=True)
class Edit:
    """A change at the end of the text.

    Attributes:
        kept: How many letters stayed.
        removed: Those that went.
        added: Those that came.
        end: Where the model stands afterwards; ``None`` if that is forgotten.
        typed: Whether more that is typed may become part of it.
        places: While it is undone: where the model stood in what it added.
    """

    kept: int
    removed: tuple[Letter, ...]
    added: tuple[Letter, ...]
    end: Point | None
    typed: bool = False
    places: Sequence[Place] = ()

    def takes(self, later: Edit) -> bool:
        """Return whether a later one goes on with the same word."""
        if not (self.typed and later.typed and later.kept == self.kept + len(self.added)):
            return False
        return not (self.added[-1].text[-1:].isspace() and not later.added[-1].text[-1:].isspace())


class Trail:
    """Where the model stood at places of the text: all the last ones, and the sparser the farther back.

    Args:
        limit: How many points to keep, at least 32; the logarithm of a text's length is less.
        first: That before any text.
    """

    def __init__(self, limit: int, first: Point) -> None:
        self._limit = limit
        self._points: list[Place] = [(0, first)]

    @property
    def last(self) -> Place:
        """The last place, and the point there."""
        return self._points[-1]

    def __len__(self) -> int:
        return len(self._points)

    def add(self, place: int, point: Point) -> None:
        """Note a point behind all others."""
        self._points.append((place, point))
        if len(self._points) > self._limit:
            reach = self._limit // 2
            while len(self._points) > self._limit * 3 // 4 and reach:
                self._thin_out(place, reach)
                reach //= 2

    def cut(self, place: int) -> list[Place]:
        """Forget what is behind a place; return it."""
        kept = bisect_right(self._points, place, key=lambda point: point[0])
        gone = self._points[kept:]
        del self._points[kept:]
        return gone

    def _thin_out(self, end: int, reach: int) -> None:
        """Keep the last `reach` places, every second of as many before, every fourth of twice as many before those."""
        seen: dict[tuple[int, int], Place] = {}
        for place, point in self._points:
            size = 1 << ((end - place) // reach).bit_length()
            seen.setdefault((size, place // size), (place, point))
        self._points = list(seen.values())


class History:
    """The edits of a text, to be undone and done again.

    Args:
        limit: How many of the last edits keep where the model stood.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._done: list[Edit] = []
        self._undone: list[Edit] = []

    def clear(self) -> None:
        """Forget all."""
        self._done.clear()
        self._undone.clear()

    def add(self, edit: Edit) -> None:
        """Note an edit; what was undone cannot be done again any more."""
        self._undone.clear()
        if self._done and self._done[-1].takes(edit):
            last = self._done[-1]
            last.added, last.end = last.added + edit.added, edit.end
            return
        self._done.append(edit)
        if len(self._done) > self._limit:
            self._done[-1 - self._limit].end = None

    def undo(self) -> tuple[Edit, Point | None] | None:
        """Go back by one edit; return it, and where the model stood before, if that is known."""
        if not self._done:
            return None
        edit = self._done.pop()
        self._undone.append(edit)
        return edit, self._done[-1].end if self._done else None

    def redo(self) -> Edit | None:
        """Go forward by one edit that was undone; return it."""
        if not self._undone:
            return None
        edit = self._undone.pop()
        self._done.append(edit)
        return edit
