"""Ends a text before a stop text, of which nothing is shown, not even its beginning.

Source: Knuth, Morris and Pratt 1977, "Fast Pattern Matching in Strings": the cost of a character does not depend on the
length of the stop texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.unknown_characters import canonical


class StopText:
    """Passes text on, piece by piece, until a stop text appears.

    Args:
        stop: Text to end before, or several; ``None`` = pass everything on. Of several, the one that is complete first
            counts, and the longest of those.
        at_newline: End before a line end, too.
        vocabulary: Stop texts are brought to its Unicode normal form, and its line end is used; ``None`` = the texts as
            given, and ``\\n``.

    Attributes:
        stops: All these texts.
        found: Whether a stop text has appeared.

    Raises:
        ValueError: A stop text is empty.
    """

    def __init__(
        self, stop: str | Sequence[str] | None, at_newline: bool = False, vocabulary: Vocabulary | None = None
    ) -> None:
        stops = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(text, str) and text for text in stops):
            raise ValueError("stop: must be a text of at least one character, or None to write the full length")
        if vocabulary is not None:
            stops = tuple(canonical(vocabulary, text) for text in stops)
        end = ("\n" if vocabulary is None else vocabulary.line_end) if at_newline else None
        self.stops = stops + (("\n", "\r\n") if end == "\n" else (end,) if end else ())
        self._borders = [_borders(text) for text in self.stops]
        self._matched = [0] * len(self.stops)  # length of the longest beginning of each that the text ends with
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """Take the next piece; return what can no longer be part of a stop text."""
        if not self.stops:
            return piece
        for place, character in enumerate(piece, 1):
            if ended := self._advance(character):
                text = self._held + piece[:place]
                self._held, self.found = "", True
                self._matched = [0] * len(self.stops)
                return text[: len(text) - ended]
        text = self._held + piece
        decided = len(text) - max(self._matched)
        self._held = text[decided:]
        return text[:decided]

    def rest(self) -> str:
        """The text still held back when the text ends without a stop text."""
        held, self._held = self._held, ""
        return held

    def _advance(self, character: str) -> int:
        """Read a character; return the length of the longest stop text that it completes, or 0."""
        ended = 0
        for number, stop in enumerate(self.stops):
            matched = self._matched[number]
            while matched and stop[matched] != character:
                matched = self._borders[number][matched - 1]
            if stop[matched] == character:
                matched += 1
            self._matched[number] = matched
            if matched == len(stop):
                ended = max(ended, matched)
        return ended


def _borders(stop: str) -> list[int]:
    """For each beginning of ``stop``, the length of its longest proper end that ``stop`` begins with."""
    borders = [0]
    for character in stop[1:]:
        length = borders[-1]
        while length and stop[length] != character:
            length = borders[length - 1]
        borders.append(length + (stop[length] == character))
    return borders
