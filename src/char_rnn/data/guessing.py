"""Guesses the encoding of a text that is not in the expected one, where it is plain."""

import codecs
import re

_MARKS = {  # the longer ones first: UTF-32's little-endian mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SIGNS = "\xa0€‚„…†‡‰‹‘’“”•–—™›¡¢£¥§©«®°±´·»¼½¾¿×"  # not ¹ and ³, letters of Central Europe in cp1250
SHORTEST = 16  # bytes by which UTF-16 without a mark is told
_ROW = re.compile(rb"[\xa0-\xff]{2,}")
_SEQUENCE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")
_SIGN_IN_WORD = re.compile(rb"[A-Za-z][\x80\x82\x84\x86\x87\x89\x8b\x93-\x95\x99\x9b](?=[A-Za-z])")
_HIGH = re.compile("[^\0-\x7f]")
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def guess_encoding(data: bytes, failed: str, *, at_beginning: bool) -> str | None:
    """Return the encoding that a part of a text plainly is in; None where it is not plain.

    Args:
        data: The part, which may begin and end within a character.
        failed: The encoding that it is not in.
        at_beginning: Whether the text begins with it.
    """
    if at_beginning and (wide := guess_wide(data)):
        return wide
    if not failed.startswith("utf-8") and _is_utf8(data):
        return "utf-8"
    return "cp1252" if failed != "cp1252" and _is_western(data) else None


def guess_wide(data: bytes) -> str | None:
    """Return the encoding of 16 or 32 bits that the beginning of a text is plainly in, else None.

    It shows by a byte-order mark, or by NUL in every other byte. With a mark it is `utf-16` or `utf-32`, which take the
    mark away.
    """
    if marked := next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None):
        return marked
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) < SHORTEST or max(even, odd) < 0.8 * (len(data) // 2) or min(even, odd) > 0.01 * len(data):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _is_western(data: bytes) -> bool:
    """Return whether a text seems to be of Western Europe, in cp1252 or its part latin-1.

    Such a text has no control characters, and few bytes above 0x7F: single accented letters, typographic quotes and
    dashes. Other alphabets and the encodings of East Asia have them in rows, UTF-8 with a bad byte in sequences, and
    the code pages of DOS have letters where cp1252 has signs.
    """
    try:
        high = _HIGH.findall(data.decode("cp1252"))
    except UnicodeDecodeError:
        return False
    letters_and_signs = sum(character.isalpha() or character in _SIGNS for character in high)
    in_rows = sum(map(len, _ROW.findall(data)))
    if _CONTROL.search(data):
        return False
    few = len(high) <= len(data) / 5 + 4
    strange = max(len(_SEQUENCE.findall(data)), len(_SIGN_IN_WORD.findall(data)))
    return few and letters_and_signs >= 0.95 * len(high) and in_rows <= len(high) / 4 and strange <= len(high) / 5
