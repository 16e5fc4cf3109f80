"""Reading texts of any size in pieces: decompressed, hashed, and decoded with the place of every fault."""

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from char_rnn.data.errors import DataError
from char_rnn.data.symbols import VocabularyKind
from char_rnn.utils.files import open_regular, read_regular

PIECE = 1 << 18  # bytes read at once: what becomes of them stays in the processor's cache
MAX_PROBED = 64 << 20
BINARY_PROBE = 8 << 10  # bytes at a file's beginning that are searched for NUL
COMPRESSED = ".gz"


class TextReader:
    r"""Reads the text of some files, one after the other, in pieces; nothing is changed: `\r\n` stays.

    A byte-order mark is a character like another (U+FEFF), unless the encoding takes it away: `utf-8-sig`, `utf-16`.

    Args:
        files: The files; those that end in `.gz` are decompressed.
        kind: `"bytes"` for pieces that are bytes, `"characters"` for decoded ones.
        encoding: Of the files; of no account for bytes.
        report: Called now and then with the bytes of the files that are done.

    Attributes:
        path: The file being read.
        position: Characters (or bytes) of that file before the present piece.
    """

    def __init__(
        self, files: Sequence[Path], kind: VocabularyKind, encoding: str, report: Callable[[int], None]
    ) -> None:
        self.path = files[0]
        self.position = 0
        self._files = files
        self._kind = kind
        self._encoding = encoding
        self._report = report
        self._hash = hashlib.sha256()
        self._done = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes read so far (decompressed), in hexadecimal."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield the text.

        Raises:
            DataError: If a file cannot be opened, decompressed or decoded.
        """
        for path in self._files:
            self.path, self.position = path, 0
            pieces = self._raw_pieces()
            for piece in decoded(pieces, self._encoding, path) if self._kind == "characters" else pieces:
                yield piece
                self.position += len(piece)

    def _raw_pieces(self) -> Iterator[bytes]:
        with _opened(self.path) as (file, text):
            while piece := _read(text, PIECE, self.path):
                self._hash.update(piece)
                yield piece
                self._report(self._done + file.tell())
            self._done += file.tell()


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
            f"encoding {encoding!r}: unknown; use a name such as utf-8, utf-8-sig, latin-1, cp1252, utf-16 or gb18030"
        ) from None
    return name


def decoded(pieces: Iterable[bytes], encoding: str, path: Path) -> Iterator[str]:
    """Decode the pieces of a file; those that complete no character are left out.

    Raises:
        DataError: If they do not fit the encoding, with the offset in bytes.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    start = 0
    for piece in chain(pieces, [b""]):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeError as error:
            raise DataError(_undecodable(path, encoding, start - pending, error)) from None
        if text:
            yield text
        start += len(piece)


def is_text(path: Path, encoding: str) -> bool:
    """Say whether a file seems to be text: no NUL near its beginning, but in UTF-16 and UTF-32, which have them."""
    if encoding.startswith(("utf-16", "utf-32")):
        return True
    with _opened(path) as (_, text):
        return b"\0" not in _read(text, BINARY_PROBE, path)


def is_valid(path: Path, encoding: str) -> bool:
    """Say whether a (small) file can be read in an encoding."""
    try:
        read_regular(path, MAX_PROBED).decode(encoding)
    except (OSError, UnicodeError):
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a file: as it is, for its place in bytes, and as text to read, decompressed."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    with file:
        yield file, cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix == COMPRESSED else file


def _read(text: BinaryIO, size: int, path: Path) -> bytes:
    try:
        return text.read(size)
    except EOFError:
        raise DataError(f"{path}: the compressed data ends early; get the file again") from None
    except gzip.BadGzipFile as error:
        raise DataError(f"{path}: not gzip data ({error}); a plain text must not be named {COMPRESSED}") from None
    except zlib.error:
        raise DataError(f"{path}: the compressed data is damaged; get the file again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _undecodable(path: Path, encoding: str, start: int, error: UnicodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        fault = f"byte 0x{error.object[error.start]:02X} at offset {start + error.start} is not {encoding}"
    else:
        fault = f"not {encoding} ({error})"
    return f"{path}: {fault}; give its encoding (--encoding latin-1, cp1252, utf-16 ...) or use --vocabulary bytes"
