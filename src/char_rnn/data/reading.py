"""Reading texts of any size in pieces: hashed, and decoded with the position of every error.

Also guesses the encoding of a text that is clearly not in the expected one.
"""

import codecs
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from char_rnn.data import DataError
from char_rnn.data.text_files import OpenText, TextFile, find_foreign_in, opened
from char_rnn.data.vocabulary import VocabularyKind
from char_rnn.utils.files import HEAD, read_regular

BINARY_PROBE = 8 << 10  # bytes at a file's beginning that are searched for NUL
PIECE = 1 << 18  # bytes read at once: their results stay in the processor's cache
MAX_PROBED = 64 << 20  # bytes of a file that is tried in an encoding
ESCAPING = ("unicode-escape", "raw-unicode-escape", "utf-7")  # the only encodings that decode to surrogates
_SURROGATE = re.compile("[\ud800-\udfff]")


class TextReader:
    r"""Reads the text of several files in pieces; nothing is changed: `\r\n` stays.

    A byte-order mark is a character (U+FEFF), unless the encoding removes it: `utf-8-sig`, `utf-16`. The pieces are
    bytes if the kind is `"bytes"`. `report` is called with the bytes of the files that are done.

    Attributes:
        file: The current file; a separator belongs to the file before it.
        position: Characters (or bytes) of that file before the current piece.

    Raises:
        DataError: The separator cannot be encoded.
    """

    def __init__(
        self,
        files: Sequence[TextFile],
        kind: VocabularyKind,
        encoding: str,
        report: Callable[[int], None],
        separator: str = "",
    ) -> None:
        self.file, self.position = files[0], 0
        self._files, self._kind, self._encoding, self._report = files, kind, encoding, report
        self._separator, self._separator_bytes = separator, _encoded_separator(separator, encoding)
        self._hash = hashlib.sha256()
        self._done = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes read so far (decompressed, with separators), in hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield the text.

        Raises:
            DataError: A file cannot be opened, decompressed or decoded.
        """
        characters = self._kind == "characters"
        for file, text in opened(self._files):
            if self._separator and file is not self._files[0]:
                self._hash.update(self._separator_bytes)
                yield self._separator if characters else self._separator_bytes
            self.file, self.position = file, 0
            pieces = self._raw_pieces(text)
            for piece in decoded(pieces, self._encoding, file) if characters else pieces:
                yield piece
                self.position += len(piece)

    def _raw_pieces(self, text: OpenText) -> Iterator[bytes]:
        while piece := text.read(PIECE):
            self._hash.update(piece)
            yield piece
            self._report(self._done + text.done())
        self._done += text.done()


def check_encoding(encoding: str) -> str:
    """Return the standard name of an encoding.

    Raises:
        DataError: Python has no text encoding of that name.
    """
    try:
        "a".encode(encoding)
        name = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError, TypeError):
        names = "utf-8, utf-8-sig, cp1252, latin-1, utf-16 or gb18030"
        raise DataError(f"encoding {encoding!r}: unknown; use a name such as {names}") from None
    return name


def decoded(pieces: Iterable[bytes], encoding: str, file: TextFile) -> Iterator[str]:
    """Decode the pieces of a file; a piece that completes no character yields nothing.

    Raises:
        DataError: The bytes are not in the encoding; the message has the offset in bytes.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    start = characters = 0
    for piece in chain(pieces, [b""]):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeError as error:
            raise DataError(_undecodable(file, encoding, start - pending, error)) from None
        if encoding in ESCAPING and (half := _SURROGATE.search(text)):
            place = characters + half.start()
            raise DataError(f"{file}: U+{ord(half[0]):04X} at position {place} is half a character; remove it")
        if text:
            yield text
        start += len(piece)
        characters += len(text)


def is_valid(path: Path, encoding: str) -> bool:
    """Return whether a (small) file can be decoded."""
    try:
        read_regular(path, MAX_PROBED).decode(encoding)
    except (OSError, UnicodeError):
        return False
    return True


def refusal(file: TextFile, text: OpenText, encoding: str) -> str | None:
    """Return why a file cannot be read as text, and what to do: it is a document, an archive, or clearly UTF-16."""
    head = text.read(HEAD)
    if foreign := find_foreign_in(file, head):
        return f"{foreign.what}, not plain text; {foreign.advice}"
    if not _is_wide(encoding) and (wide := guess_wide(head)):
        return f"not {encoding}; it looks like {wide}: give --encoding {wide}, or use --vocabulary bytes"
    return None


def not_text(file: TextFile, text: OpenText, encoding: str) -> str | None:
    """Return what a file is if it is not text: foreign content, or a NUL byte at its beginning (but for UTF-16, 32)."""
    head = text.read(BINARY_PROBE)
    if foreign := find_foreign_in(file, head):
        return foreign.what
    return "a binary file" if b"\0" in head and not _is_wide(encoding) else None


def _is_wide(encoding: str) -> bool:
    return encoding.startswith(("utf-16", "utf-32"))


def _encoded_separator(separator: str, encoding: str) -> bytes:
    """Encode a separator as within a text: without a byte-order mark."""
    if not isinstance(separator, str):
        raise DataError(f"separator {separator!r}: must be a text")
    try:
        return separator.encode(encoding).removeprefix("".encode(encoding))
    except UnicodeError:
        raise DataError(f"separator {separator!r}: cannot be written in {encoding}; give another separator") from None


def _undecodable(file: TextFile, encoding: str, start: int, error: UnicodeError) -> str:
    advice = "give its encoding (--encoding cp1252, latin-1, utf-16 ...) or use --vocabulary bytes"
    if not isinstance(error, UnicodeDecodeError):
        return f"{file}: not {encoding} ({error}); {advice}"
    guess = None if encoding in ESCAPING else guess_encoding(error.object, encoding, at_beginning=start == 0)
    if guess:
        advice = f"it looks like {guess}: give --encoding {guess}, or use --vocabulary bytes"
    elif b"\0" in error.object:
        advice = "it looks like a binary file: give a text file, or use --vocabulary bytes"
    return f"{file}: byte 0x{error.object[error.start]:02X} at offset {start + error.start} is not {encoding}; {advice}"


_MARKS = {  # the longer ones first: UTF-32's little-endian mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SIGNS = "\xa0€‚„…†‡‰‹‘’“”•–—™›¡¢£¥§©«®°±´·»¼½¾¿×"  # not ¹ and ³, letters of Central Europe in cp1250
SHORTEST = 16  # bytes from which on UTF-16 is recognized without a mark
_ROW = re.compile(rb"[\xa0-\xff]{2,}")
_SEQUENCE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")
_SIGN_IN_WORD = re.compile(rb"[A-Za-z][\x80\x82\x84\x86\x87\x89\x8b\x93-\x95\x99\x9b](?=[A-Za-z])")
_HIGH = re.compile("[^\0-\x7f]")
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def guess_encoding(data: bytes, failed: str, *, at_beginning: bool) -> str | None:
    """Return the encoding of a part of a text, which is not in the `failed` one, if it is clear, else None.

    The part may begin and end within a character.
    """
    if at_beginning and (wide := guess_wide(data)):
        return wide
    if not failed.startswith("utf-8"):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(data)
        except UnicodeDecodeError:
            pass
        else:
            return "utf-8"
    return "cp1252" if failed != "cp1252" and _is_western(data) else None


def guess_wide(data: bytes) -> str | None:
    """Return the 16-bit or 32-bit encoding of the beginning of a text if it is clear, else None.

    It shows by a byte-order mark, or by NUL in every other byte. With a mark it is `utf-16` or `utf-32`, which remove
    the mark.
    """
    if marked := next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None):
        return marked
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) < SHORTEST or max(even, odd) < 0.8 * (len(data) // 2) or min(even, odd) > 0.01 * len(data):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _is_western(data: bytes) -> bool:
    """Return whether a text seems to be Western European, in cp1252 or its subset latin-1.

    Such a text has no control characters and few bytes above 0x7F: single accented letters, typographic quotes and
    dashes. Other alphabets and the encodings of East Asia have them in rows, UTF-8 with a bad byte in sequences, and
    the code pages of DOS have letters where cp1252 has signs.
    """
    try:
        high = _HIGH.findall(data.decode("cp1252"))
    except UnicodeDecodeError:
        return False
    if _CONTROL.search(data):
        return False
    letters_and_signs = sum(character.isalpha() or character in _SIGNS for character in high)
    in_rows = sum(map(len, _ROW.findall(data)))
    few = len(high) <= len(data) / 5 + 4
    strange = max(len(_SEQUENCE.findall(data)), len(_SIGN_IN_WORD.findall(data)))
    return few and letters_and_signs >= 0.95 * len(high) and in_rows <= len(high) / 4 and strange <= len(high) / 5
