r"""How a model reads a text: the one place that decides what is read for characters the vocabulary lacks.

A text whose characters are all known is read as it is. Otherwise its Unicode normal forms NFC and NFD are tried first:
text from macOS often comes decomposed, and is the same text. What is unknown after that follows ``unknown``.

Dimensions: T characters of a text, N symbols.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import Literal

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import LINE_ENDS, UnknownCharacterError
from char_rnn.generation.nearest import nearest_text
from char_rnn.generation.symbols import Symbols, knowing, line_end

Unknown = Literal["error", "skip", "nearest"]
NormalForm = Literal["NFC", "NFD"]

_FORMS: tuple[NormalForm, ...] = ("NFC", "NFD")
_NAMED = 20
_LINE_ENDS = ("\r\n", *LINE_ENDS)
_PIECE = re.compile("\r\n|.", re.DOTALL)
_LONGEST = 32  # characters normalized at once: CPython sorts marks in quadratic time (UAX 15's stream-safe text has 30)

_logger = logging.getLogger("char_rnn")


@dataclass(frozen=True)
class Spelling:
    r"""A text as a model reads it.

    Attributes:
        symbols: The model's vocabulary.
        pieces: Consecutive pieces of the text, each with the text that is read for it. A piece that is read as it is
            may be of any length; another is a character, its combining marks, or ``\r\n``.
        form: Normal form that the text was brought to; ``None`` = as given.
    """

    symbols: Symbols
    pieces: tuple[tuple[str, str], ...]
    form: NormalForm | None = None

    @property
    def text(self) -> str:
        """Text that the model reads."""
        return "".join(read for _, read in self.pieces)

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Indices (N,) of `text`."""
        return self.symbols.encode(self.text).astype(np.int64)

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """Number of symbols read after each character of the text as given, (T,)."""
        length = cache(lambda piece: len(self.symbols.encode(piece)))
        steps: list[int] = []
        for given, read in self.pieces:
            steps += map(length, given) if given == read else [0] * (len(given) - 1) + [length(read)]
        return np.cumsum(steps, dtype=np.int64)

    @property
    def substitutions(self) -> dict[str, str]:
        """Pieces that were not read as they are, and what was read for each (may be empty); in order of appearance."""
        return {given: read for given, read in self.pieces if read not in (given, _formed(given, self.form))}

    def remark(self) -> str:
        """Says what was not read as it is; empty if all was."""
        substitutions = self.substitutions
        skipped = [repr(given) for given, read in substitutions.items() if not read]
        replaced = [f"{given!r} as {read!r}" for given, read in substitutions.items() if read]
        parts = [f"read in the normal form {self.form}"] if self.form else []
        parts += [f"read {_named(replaced, ', ')}"] if replaced else []
        parts += [f"skipped what the vocabulary does not have: {_named(skipped, ' ')}"] if skipped else []
        return "; ".join(parts)


def spelled(symbols: Symbols, text: str, unknown: Unknown = "error") -> Spelling:
    r"""Decides what a model reads for a text.

    Args:
        symbols: The model's vocabulary.
        text: Any text.
        unknown: Treatment of characters that the vocabulary lacks in either normal form: ``"error"``; ``"skip"`` them;
            ``"nearest"``: read the nearest that it has (see `nearest_text`; ``\r\n`` counts as one line end), and skip
            those without one.

    Raises:
        UnknownCharacterError: ``text`` has a character that the vocabulary lacks, and ``unknown`` is ``"error"``.
        ValueError: ``text`` is not a text, or ``unknown`` is none of these.
    """
    if not isinstance(text, str):
        raise ValueError(f"prime_text: must be a text; given {text!r:.40}")  # noqa: TRY004 (as other arguments)
    if unknown not in ("error", "skip", "nearest"):
        raise ValueError(f"unknown: must be error, skip or nearest; given {unknown!r}")
    try:
        symbols.encode(text)
    except UnknownCharacterError:
        has = cache(knowing(symbols))
        form, pieces = _in_its_form(text, has)
        if unknown != "error":
            read = cache(lambda piece: (piece[0], _readable(piece[1], has, nearest=unknown == "nearest")))
            return Spelling(symbols, tuple(map(read, pieces)), form)
        if not all(has(formed) for _, formed in set(pieces)):
            raise
        return Spelling(symbols, tuple(pieces), form)
    return Spelling(symbols, ((text, text),))


def encode_prime(symbols: Symbols, text: str, unknown: Unknown = "error") -> npt.NDArray[np.int64]:
    """Indices (N,) that a model reads of a prime text; a logged warning says what was not read as it is.

    Args and Raises: as `spelled`.
    """
    spelling = spelled(symbols, text, unknown)
    if remark := spelling.remark():
        _logger.warning("prime text: %s", remark)
    return spelling.indices


def default_prime(symbols: Symbols, prime: str) -> tuple[str, str]:
    r"""Fits the prime text of a model's configuration to its vocabulary.

    Returns:
        The prime: as it is, or with the nearest characters of the vocabulary (its line end for ``"\n"``), without those
        that have none; and a remark on the change, empty if there is none.
    """
    known = spelled(symbols, prime, "nearest").text
    if known == prime:
        return prime, ""
    return known, f"generation.prime {prime!r} is not in the vocabulary: beginning with {known!r} instead"


def fitted(symbols: Symbols, text: str) -> str:
    """Text in the normal form that the vocabulary knows more of, its line ends as the vocabulary's; else as given."""
    has = cache(knowing(symbols))
    if has(text):
        return text
    end = line_end(symbols)
    pieces = [formed for _, formed in _in_its_form(text, has)[1]]
    return "".join(end if end and piece in _LINE_ENDS and not has(piece) else piece for piece in pieces)


def canonical(symbols: Symbols, text: str, forms: Sequence[NormalForm] = _FORMS) -> str:
    """Text in the first normal form that the vocabulary has all of; as it is if it is known, or no form is."""
    for candidate in (text, *(unicodedata.normalize(form, text) for form in forms)):
        try:
            symbols.encode(candidate)
        except UnknownCharacterError:
            continue
        return candidate
    return text


def _in_its_form(text: str, has: Callable[[str], bool]) -> tuple[NormalForm | None, list[tuple[str, str]]]:
    """Pieces of a text, as given and in the form with the fewest unknown characters; of equal ones as given.

    The text may be long: equal pieces share one tuple, of eight bytes in the list.
    """
    form: NormalForm | None = None
    if not text.isascii():
        counts = Counter(_segments(text))

        def unknown(form: NormalForm | None) -> int:
            formed = ((_formed(segment, form), count) for segment, count in counts.items())
            return sum(count * sum(not has(character) for character in segment) for segment, count in formed)

        form = min((None, *_FORMS), key=unknown)
    pieces = _segments(text) if form else map(itemgetter(0), _PIECE.finditer(text))
    return form, list(map(cache(lambda piece: (piece, _formed(piece, form))), pieces))


def _formed(text: str, form: NormalForm | None) -> str:
    return unicodedata.normalize(form, text) if form else text


def _segments(text: str) -> Iterator[str]:
    r"""Pieces that can be normalized one by one: ``\r\n``, or a character with what composes with it."""
    composes = lru_cache(1 << 16)(_composes)
    segment = ""
    for piece in map(itemgetter(0), _PIECE.finditer(text)):
        if segment and len(segment) < _LONGEST and composes(segment, piece):
            segment += piece
        else:
            if segment:
                yield segment
            segment = piece
    yield segment


def _composes(before: str, character: str) -> bool:
    if character.isascii():
        return False
    if unicodedata.category(character).startswith("M"):
        return True
    apart = unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", character)
    return unicodedata.normalize("NFC", before + character) != apart  # the parts of Hangul syllables


def _readable(piece: str, has: Callable[[str], bool], *, nearest: bool) -> str:
    """What is read for a piece: of several characters, and of a line end, all that is known or has a neighbour."""
    if has(piece):
        return piece
    if nearest:
        piece = nearest_text("\n" if piece == "\r\n" else piece, has)
    return "".join(filter(has, piece))


def _named(what: list[str], between: str) -> str:
    return between.join(what[:_NAMED]) + (f" and {len(what) - _NAMED} more" if len(what) > _NAMED else "")
