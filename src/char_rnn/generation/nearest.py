"""Writes a text with the characters that are at hand: another case, no accents, plain quotes and dashes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

from char_rnn.data.vocabulary import LINE_ENDS

_ALIKE = (
    "'‘’‚‛`´′",
    '"“”„‟«»″',
    "-‐‑‒–—―−",
    " \u00a0\u2002\u2003\u2009\u200a\u202f\u3000\t",
    "".join(LINE_ENDS),
    "/⁄∕",
)
"""Characters that may stand for each other, the plainest first."""

_SPELLINGS = {
    "…": "...", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i",
}  # fmt: skip


def nearest_text(text: str, has: Callable[[str], bool]) -> str:
    """The text with each character that is not there replaced by the nearest that is.

    Tried in this order: the letter in its other case; the letter without accents (NFKD), in either case; what is used
    in its place in type (curly and straight quotes, dashes, spaces, ends of lines) or in spelling (ß as ss).

    Args:
        text: The text.
        has: Whether a piece of text can be written.

    Returns:
        The text; characters that have no such neighbour stand in it as they were.
    """
    nearest = {character: next(filter(has, _candidates(character)), character) for character in dict.fromkeys(text)}
    return "".join(map(nearest.__getitem__, text))


def _candidates(character: str) -> Iterator[str]:
    """What may stand for a character, itself first."""
    yield from _cases(character)
    decomposed = unicodedata.normalize("NFKD", character)
    plain = "".join(part for part in decomposed if not unicodedata.combining(part))
    if plain:
        yield from _cases(plain)
        yield plain.replace("⁄", "/")
    for group in _ALIKE:
        if character in group or (len(plain) == 1 and plain in group):
            yield from group
    if spelling := _SPELLINGS.get(character):
        yield from _cases(spelling)


def _cases(text: str) -> Iterator[str]:
    """A text in either case, where that does not lengthen it."""
    return (case for case in (text, text.swapcase(), text.lower(), text.upper()) if len(case) == len(text))
