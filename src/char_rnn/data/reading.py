"""Reading texts of any size in pieces: hashed, and decoded with the place of every fault."""

import codecs
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from char_rnn.data.errors import DataError
from char_rnn.data.guessing import guess_encoding
from char_rnn.data.symbols import VocabularyKind
from char_rnn.data.text_files import OpenText, TextFile, opened
from char_rnn.utils.files import read_regular

PIECE = 1 << 18  # bytes read at once: what becomes of them stays in the processor's cache
MAX_PROBED = 64 << 20
ESCAPING = ("unicode-escape", "raw-unicode-escape", "utf-7")  # the only ones that decode to surrogates
_SURROGATE = re.compile("[\ud800-\udfff]")


class TextReader:
    r"""Reads the text of some files, one after the other, in pieces; nothing is changed: `\r\n` stays.

    A byte-order mark is a character like another (U+FEFF), unless the encoding takes it away: `utf-8-sig`, `utf-16`.

    Args:
        files: The files.
        kind: `"bytes"` for pieces that are bytes, `"characters"` for decoded ones.
        encoding: Of the files; bytes are not decoded.
        report: Called now and then with the bytes of the files that are done.
        separator: Text between two files.

    Attributes:
        file: The file being read; a separator belongs to the file before it.
        position: Characters (or bytes) of that file before the present piece.

    Raises:
        DataError: If the separator cannot be written in the encoding.
    """

    def __init__(
        self,
        files: Sequence[TextFile],
        kind: VocabularyKind,
        encoding: str,
        report: Callable[[int], None],
        separator: str = "",
    ) -> None:
        self.file = files[0]
        self.position = 0
        self._files = files
        self._kind = kind
        self._encoding = encoding
        self._report = report
        self._separator = separator
        self._separator_bytes = _encoded_separator(separator, encoding)
        self._hash = hashlib.sha256()
        self._done = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes read so far (decompressed, with separators), in hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield the text.

        Raises:
            DataError: If a file cannot be opened, decompressed or decoded.
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
    """Give an encoding's standard name.

    Raises:
        DataError: If Python knows no such text encoding.
    """
    try:
        "a".encode(encoding)
        name = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError, TypeError):
        raise DataError(
            f"encoding {encoding!r}: unknown; use a name such as utf-8, utf-8-sig, cp1252, latin-1, utf-16 or gb18030"
        ) from None
    return name


def decoded(pieces: Iterable[bytes], encoding: str, file: TextFile) -> Iterator[str]:
    """Decode the pieces of a file; those that complete no character are left out.

    Raises:
        DataError: If they do not fit the encoding, with the offset in bytes.
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
    """Say whether a (small) file can be read in an encoding."""
    try:
        read_regular(path, MAX_PROBED).decode(encoding)
    except (OSError, UnicodeError):
        return False
    return True


def _encoded_separator(separator: str, encoding: str) -> bytes:
    """Write a separator as it would stand within a text: without a byte-order mark."""
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
