r"""Conversion of a text to the symbols that a model reads, with a treatment for unknown characters.

A text of known characters is read unchanged. Otherwise the Unicode normal forms NFC and NFD are tried first: text from
macOS is often decomposed, and is the same text. What is unknown after that is treated as ``unknown`` says.

Dimensions: T characters of a text, N symbols.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from operator import itemgetter
from typing import Literal

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import LINE_ENDS, UnknownCharacterError, Vocabulary

Unknown = Literal["error", "skip", "nearest"]
NormalForm = Literal["NFC", "NFD"]

_FORMS: tuple[NormalForm, ...] = ("NFC", "NFD")
_NAMED = 20
_LINE_ENDS = ("\r\n", *LINE_ENDS)
_PIECE = re.compile("\r\n|.", re.DOTALL)
_LONGEST = 32  # characters normalized at once: CPython sorts marks in quadratic time (UAX 15's stream-safe text has 30)
_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # those between stand for bytes that are not UTF-8
_ALIKE = (
    "'‘’‚‛`´′",
    '"“”„‟«»″',
    "-‐‑‒–—―−",
    " \u00a0\u2002\u2003\u2009\u200a\u202f\u3000\t",
    "".join(LINE_ENDS),
    "/⁄∕",
)
"""Characters that may replace each other, the plainest first."""
_SPELLINGS = {
    "…": "...", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i",
}  # fmt: skip

_logger = logging.getLogger("char_rnn")


@dataclass(frozen=True)
class Spelling:
    r"""A text as a model reads it.

    Attributes:
        vocabulary: The model's vocabulary.
        pieces: Consecutive pieces of the text, each with the text read for it. An unchanged piece may have any length;
            a changed one is a character, its combining marks, or ``\r\n``.
        form: Normal form of the read text; ``None`` = as given.
    """

    vocabulary: Vocabulary
    pieces: tuple[tuple[str, str], ...]
    form: NormalForm | None = None

    @property
    def text(self) -> str:
        """Text that the model reads."""
        return "".join(read for _, read in self.pieces)

    @cached_property
    def indices(self) -> npt.NDArray[np.int64]:
        """Indices (N,) of `text`."""
        return self.vocabulary.encode(self.text).astype(np.int64)

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Number of symbols read after each character of the given text, (T,)."""
        length = cache(lambda piece: len(self.vocabulary.encode(piece)))
        steps: list[int] = []
        for given, read in self.pieces:
            steps += map(length, given) if given == read else [0] * (len(given) - 1) + [length(read)]
        return np.cumsum(steps, dtype=np.int64)

    @property
    def substitutions(self) -> dict[str, str]:
        """Changed pieces, and the text read for each (may be empty); in order of appearance."""
        return {given: read for given, read in self.pieces if read not in (given, _formed(given, self.form))}

    def count(self) -> tuple[int, int]:
        """Number of characters replaced by others, and of those left out."""
        counts, changed = Counter(self.pieces), self.substitutions
        replaced = sum(count for (given, read), count in counts.items() if read and given in changed)
        return replaced, sum(count for (given, read), count in counts.items() if not read and given in changed)

    def remark(self) -> str:
        """Description of the changes; empty if there are none."""
        substitutions = self.substitutions
        skipped = [_shown(given) for given, read in substitutions.items() if not read]
        replaced = [f"{given!r} as {read!r}" for given, read in substitutions.items() if read]
        parts = [f"read in the normal form {self.form}"] if self.form else []
        parts += [f"read {_named(replaced, ', ')}"] if replaced else []
        parts += [f"skipped unknown characters: {_named(skipped, ' ')}"] if skipped else []
        return "; ".join(parts)


def spelled(vocabulary: Vocabulary, text: str, unknown: Unknown = "error") -> Spelling:
    r"""Decide what a model reads for a text.

    Args:
        vocabulary: The model's vocabulary.
        text: Any text.
        unknown: Treatment of characters that the vocabulary lacks in both normal forms: ``"error"``; ``"skip"``;
            ``"nearest"``: read the nearest known character (see `nearest_text`; ``\r\n`` is one line end), and skip
            those without one.

    Raises:
        UnknownCharacterError: ``text`` has an unknown character, and ``unknown`` is ``"error"``.
        ValueError: ``text`` is not a text, or ``unknown`` is none of these.
    """
    if not isinstance(text, str):
        raise ValueError(f"prime_text: must be a text; given {text!r:.40}")  # noqa: TRY004 (as other arguments)
    if unknown not in ("error", "skip", "nearest"):
        raise ValueError(f"unknown: must be error, skip or nearest; given {unknown!r}")
    try:
        vocabulary.encode(text)
    except UnknownCharacterError:
        has = cache(knowing(vocabulary))
        form, pieces = _in_its_form(text, has)
        if unknown != "error":
            read = cache(lambda piece: (piece[0], _readable(piece[1], has, nearest=unknown == "nearest")))
            return Spelling(vocabulary, tuple(map(read, pieces)), form)
        if not all(has(formed) for _, formed in set(pieces)):
            raise
        return Spelling(vocabulary, tuple(pieces), form)
    return Spelling(vocabulary, ((text, text),))


def encode_prime(vocabulary: Vocabulary, text: str, unknown: Unknown = "error") -> npt.NDArray[np.int64]:
    """Indices (N,) that a model reads for a prime text; changes are logged as a warning.

    Args and Raises: as `spelled`.
    """
    try:
        spelling = spelled(vocabulary, text, unknown)
    except UnknownCharacterError as error:
        raise error.advising('remove or replace it, or give unknown="nearest" or "skip"') from None
    if remark := spelling.remark():
        _logger.warning("prime text: %s", remark)
    return spelling.indices


def default_prime(vocabulary: Vocabulary, prime: str) -> tuple[str, str]:
    r"""Fit the prime text of a model's configuration to its vocabulary.

    Unknown characters are replaced by the nearest of the vocabulary (``"\n"`` by its line end) or left out. Also
    returns a remark on the change, empty if there is none.
    """
    known = spelled(vocabulary, prime, "nearest").text
    if known == prime:
        return prime, ""
    return known, f"generation.prime {prime!r} is not in the vocabulary: beginning with {known!r} instead"


def fitted(vocabulary: Vocabulary, text: str) -> str:
    """The text in the normal form with the fewest unknown characters, and with the vocabulary's line ends."""
    has = cache(knowing(vocabulary))
    if has(text):
        return text
    end = vocabulary.line_end
    pieces = [formed for _, formed in _in_its_form(text, has)[1]]
    return "".join(end if end and piece in _LINE_ENDS and not has(piece) else piece for piece in pieces)


def canonical(vocabulary: Vocabulary, text: str, forms: Sequence[NormalForm] = _FORMS) -> str:
    """The text in the first normal form that the vocabulary knows completely; unchanged if it is known, or none is."""
    has = knowing(vocabulary)
    return next(filter(has, (text, *(unicodedata.normalize(form, text) for form in forms))), text)


def knowing(vocabulary: Vocabulary) -> Callable[[str], bool]:
    """A test whether a vocabulary can encode a piece of text; faster than an `UnknownCharacterError`."""
    known = frozenset(vocabulary.symbols)
    if vocabulary.kind == "characters":
        return lambda text: known.issuperset(map(ord, text))
    return lambda text: not _SURROGATE.search(text) and known.issuperset(text.encode("utf-8", "surrogateescape"))


def nearest_text(text: str, has: Callable[[str], bool]) -> str:
    """Replace each unknown character of a text by the nearest known one.

    Tried in this order: the letter in its other case; the letter without accents (NFKD), in either case; what typing
    uses in its place (curly and straight quotes, dashes, spaces, line ends) or spelling does (ß as ss). Characters
    without such a neighbour are unchanged.
    """
    nearest = {character: next(filter(has, _candidates(character)), character) for character in dict.fromkeys(text)}
    return "".join(map(nearest.__getitem__, text))


def _candidates(character: str) -> Iterator[str]:
    """Replacements for a character, itself first."""
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


def _in_its_form(text: str, has: Callable[[str], bool]) -> tuple[NormalForm | None, list[tuple[str, str]]]:
    """Pieces of a text, as given and in the form with the fewest unknown characters; of equal forms as given.

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
    """The text read for a piece: of several characters, or of a line end, all that is known or has a neighbour."""
    if has(piece):
        return piece
    if nearest:
        piece = nearest_text("\n" if piece == "\r\n" else piece, has)
    return "".join(filter(has, piece))


def _shown(piece: str) -> str:
    """A piece in quotes, or the byte that a surrogate stands for."""
    is_byte = len(piece) == 1 and "\udc80" <= piece <= "\udcff"
    return f"byte 0x{ord(piece) - 0xDC00:02X}" if is_byte else repr(piece)


def _named(what: list[str], between: str) -> str:
    return between.join(what[:_NAMED]) + (f" and {len(what) - _NAMED} more" if len(what) > _NAMED else "")
