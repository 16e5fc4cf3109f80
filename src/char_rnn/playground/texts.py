"""Symbols of a model as text: one by one, and many with the character that each belongs to.

Dimensions: T characters, N symbols.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.spelling import Spelling

Places = npt.NDArray[np.int64]


def how_read(spelling: Spelling) -> dict[str, Any]:
    r"""Return the fields of `schema.Read` for a text: nothing where all was read as given.

    Half a surrogate pair, which JSON in UTF-8 cannot hold, is written as ``\ud800``.
    """
    substitutions = spelling.substitutions.items()
    pairs = [(given.encode("utf-8", "backslashreplace").decode(), read) for given, read in substitutions]
    facts: dict[str, Any] = {"normal_form": spelling.form, "substitutions": pairs}
    return {name: value for name, value in facts.items() if value}


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
