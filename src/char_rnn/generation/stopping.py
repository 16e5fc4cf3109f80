"""Ends a stream of text before a given text, which never shows, not even its beginning."""

from __future__ import annotations

from collections.abc import Sequence

_NEWLINES = ("\n", "\r\n")


class StopText:
    """Passes text on, piece by piece, until a stop text appears.

    Args:
        stop: Text to end before, or several; ``None`` = pass everything on. Of several the one that is complete first
            counts, of these the longest.
        at_newline: End before the end of a line, too.

    Attributes:
        stops: All these texts.
        found: Whether a stop text has appeared.

    Raises:
        ValueError: A stop text is empty.
    """

    def __init__(self, stop: str | Sequence[str] | None, at_newline: bool = False) -> None:
        stops = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(text, str) and text for text in stops):
            raise ValueError("stop: must be a text of at least one character, or None to go on to the full length")
        self.stops = (*stops, *_NEWLINES) if at_newline else stops
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """Takes the next piece; returns what can no longer be part of a stop text."""
        if not self.stops:
            return piece
        text = self._held + piece
        found = [(start + len(stop), start) for stop in self.stops if (start := text.find(stop)) >= 0]
        self.found = bool(found)
        if found:
            decided = min(found)[1]
            self._held = ""
        else:
            decided = len(text) - max(_overlap(text, stop) for stop in self.stops)
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
