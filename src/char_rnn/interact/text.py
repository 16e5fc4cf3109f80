"""A text that a model reads as it grows and shrinks at its end.

Dimensions: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import TextDecoder, Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.interact.history import Letter, Place, Point, Trail

FEWEST_POINTS, MOST_POINTS = 32, 1024


class LiveText:
    """The symbols of a text, and where the model stands after them.

    Args:
        engine: The model.
        vocabulary: Its vocabulary.
        memory: Bytes of states to keep along the text, about.
        others: Streams to have beside the text's own, which is 0.

    Attributes:
        letters: The text.
        log_probs: Of what comes next, (V,), in nats; before any text all are alike.
        streams: What reads it.
        points: How many states are kept.
    """

    def __init__(self, engine: Engine, vocabulary: Vocabulary, memory: int, others: int) -> None:
        self.vocabulary = vocabulary
        self.letters: list[Letter] = []
        self.streams = engine.begin(1 + others)
        self.log_probs: npt.NDArray[Any] = np.full(engine.vocab_size, -np.log(engine.vocab_size), np.float32)
        self.points = min(max(FEWEST_POINTS, memory // self.point().nbytes), MOST_POINTS)
        self._trail = Trail(self.points, self.point())
        self._decoder = self.decoder()

    def __len__(self) -> int:
        return len(self.letters)

    def read(self, symbol: int, *, drawn: bool) -> str:
        """Add a symbol; return the characters that it completes."""
        self.log_probs = self.streams.step((symbol,), (0,))[0]
        piece = self._decoder.decode((symbol,))
        self.letters.append(Letter(symbol, piece, drawn))
        self._trail.add(len(self), self.point())
        return piece

    def rewrite(
        self, kept: int, added: Sequence[Letter], end: Point | None, places: Sequence[Place] = ()
    ) -> list[Place]:
        """Let the text be its first `kept` letters and some more.

        Args:
            kept: How many letters stay.
            added: Those after them.
            end: Where the model then stands; ``None`` to find it out from the nearest place where that is known.
            places: Where it stood on the way there, as far as that is known.

        Returns:
            Where it stood in what has gone.
        """
        gone = self._trail.cut(kept)
        if end is not None:
            self.letters[kept:] = added
            self._stand(end)
            for place, point in places:
                if place < len(self):
                    self._trail.add(place, point)
            self._trail.add(len(self), end)
            return gone
        known, point = self._trail.last
        rest = [*self.letters[known:kept], *added]
        del self.letters[known:]
        self._stand(point)
        for letter in rest:
            self.read(letter.symbol, drawn=letter.drawn)
        return gone

    def point(self) -> Point:
        """Where the model stands."""
        return Point(self.streams.state(0), self.log_probs)

    def decoder(self) -> TextDecoder:
        """A decoder that has read the text: of UTF-8 at most three bytes wait for a fourth."""
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
        """Where the last character before a place begins; bytes after it that are none yet belong to it."""
        start = max(0, end - 1)
        while start > 0 and not self.letters[start].text:
            start -= 1
        while start > 0 and not self.letters[start - 1].text:
            start -= 1
        return start

    def name(self, symbol: int) -> str:
        r"""The character of a symbol; of a byte that is none by itself its number, as ``\xC3``."""
        value = self.vocabulary.symbols[symbol]
        return f"\\x{value:02X}" if self.vocabulary.kind == "bytes" and value >= 0x80 else chr(value)

    def _stand(self, point: Point) -> None:
        self.streams.set_state(point.state, 0)
        self.log_probs = point.log_probs
        self._decoder = self.decoder()
