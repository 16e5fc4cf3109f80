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
_ROW = re.compile(rb"[\xa0-\xff]{2,}")
_HIGH = re.compile("[^\0-\x7f]")


def guess_encoding(data: bytes, failed: str, *, at_beginning: bool) -> str | None:
    """Return the encoding that a part of a text plainly is in; None where it is not plain.

    Args:
        data: The part, which may begin and end within a character.
        failed: The encoding that it is not in.
        at_beginning: Whether the text begins with it.
    """
    if at_beginning:
        for mark, encoding in _MARKS.items():
            if data.startswith(mark):
                return encoding
    if not failed.startswith("utf-8") and _is_utf8(data):
        return "utf-8"
    return "cp1252" if failed != "cp1252" and _is_western(data) else None


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _is_western(data: bytes) -> bool:
    """Return whether a text seems to be of Western Europe, in cp1252 or its part latin-1.

    Such a text has few bytes above 0x7F: single accented letters, typographic quotes and dashes. Other alphabets and
    the encodings of East Asia have them in rows.
    """
    try:
        high = _HIGH.findall(data.decode("cp1252"))
    except UnicodeDecodeError:
        return False
    letters_and_signs = sum(character.isalpha() or character in _SIGNS for character in high)
    in_rows = sum(map(len, _ROW.findall(data)))
    few = len(high) <= len(data) / 5 + 4
    return few and letters_and_signs >= 0.95 * len(high) and in_rows <= len(high) / 4
