"""Ends a stream of text before a given text, which never shows, not even its beginning."""

from __future__ import annotations


class StopText:
    """Passes text on, piece by piece, until the stop text appears.

    Args:
        stop: Text to end before; ``None`` = pass everything on.

    Attributes:
        found: Whether the stop text has appeared.

    Raises:
        ValueError: ``stop`` is empty.
    """

    def __init__(self, stop: str | None) -> None:
        if stop == "":
            raise ValueError("stop: must be a text of at least one character, or None to go on to the full length")
        self._stop = stop
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """Takes the next piece; returns what can no longer be part of the stop text."""
        if self._stop is None:
            return piece
        self._held += piece
        text, stop, _ = self._held.partition(self._stop)
        self.found = bool(stop)
        decided = len(text) if self.found else len(text) - _overlap(text, self._stop)
        self._held = text[decided:]
        return text[:decided]

    def rest(self) -> str:
        """What is still held back when the text ends by itself."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that ``stop`` begins with, short of all of it."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
