"""Characters of a text and the symbols a model reads for them: one each, several bytes, or none.

Dimensions: T characters, N symbols.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.nearest import nearest_text
from char_rnn.generation.symbols import knowing

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spelling:
    """A text as a model reads it.

    Attributes:
        symbols: N indices. For a character that the model has never seen it reads the nearest that it has, or nothing.
        ends: (T,), how many of them have been read after each character.
    """

    symbols: list[int]
    ends: Places

    @classmethod
    def of(cls, vocabulary: Vocabulary, text: str) -> Spelling:
        """Spell a text of T characters."""
        has = knowing(vocabulary)
        spelt = {character: _spelt(vocabulary, character, has) for character in set(text)}
        ends = np.cumsum([len(spelt[character]) for character in text], dtype=np.int64)
        return cls([index for character in text for index in spelt[character]], ends)


@lru_cache
def labels(vocabulary: Vocabulary) -> tuple[str, ...]:
    r"""Return each symbol as a text to be shown: the character, or a byte that alone is none as ``\xC3``."""
    no_character = 128 if vocabulary.kind == "bytes" else sys.maxunicode + 1
    return tuple(chr(symbol) if symbol < no_character else f"\\x{symbol:02X}" for symbol in vocabulary.symbols)


def aligned(vocabulary: Vocabulary, symbols: Sequence[int]) -> tuple[str, Places]:
    """Return the text (T characters) of symbols (N,), and the place (T,) of the last symbol of each character."""
    if vocabulary.kind == "characters":
        return vocabulary.decode(symbols), np.arange(len(symbols))
    decoder = vocabulary.decoder()
    pieces = [decoder.decode([index]) for index in symbols]
    return "".join(pieces), np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])


def _spelt(vocabulary: Vocabulary, character: str, has: Callable[[str], bool]) -> list[int]:
    nearest = nearest_text(character, has)
    return [int(index) for index in vocabulary.encode(nearest)] if has(nearest) else []
