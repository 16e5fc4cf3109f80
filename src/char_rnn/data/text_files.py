"""Files of text, read as what they are: plain, compressed by gzip, bzip2 or xz, or members of a zip archive.

What a file is shows in its first bytes, whatever its name. Everything is decompressed in pieces, in bounded memory.
"""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from char_rnn.data.errors import DataError
from char_rnn.data.guessing import guess_wide
from char_rnn.utils.file_kinds import BZIP2, GZIP, HEAD, XZ, ZIP, Foreign, compression, find_document, find_foreign
from char_rnn.utils.files import open_regular

BINARY_PROBE = 8 << 10  # bytes at a file's beginning that are searched for NUL
BLOCK = 1 << 16  # compressed bytes read at once
XZ_MEMORY = 256 << 20  # bytes; `xz -9` needs 65 MB to decompress
MAX_DIRECTORY = 16 << 20  # bytes of a zip archive's list of members; Python takes ten times that for it
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile decompresses the others without a bound
SUFFIXES = (".gz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class TextFile:
    """A file of text.

    Attributes:
        path: The file on the disk.
        member: The member of a zip archive; None for the file itself.
    """

    path: Path
    member: str | None = None

    @property
    def place(self) -> Path:
        """The path, with the member behind it."""
        return self.path if self.member is None else self.path / self.member

    def __str__(self) -> str:
        return str(self.place)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class OpenText:
    """An open file of text: its bytes, decompressed."""

    def __init__(self, name: str, text: _Readable, done: Callable[[int], int]) -> None:
        self._name = name
        self._text = text
        self._done = done
        self._bytes = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end.

        Raises:
            DataError: If they cannot be read or decompressed.
        """
        with _damage_reported(self._name):
            piece = self._text.read(size)
        self._bytes += len(piece)
        return piece

    def done(self) -> int:
        """Return how many bytes of the file on the disk were read."""
        return self._done(self._bytes)


@contextmanager
def opened(file: TextFile) -> Iterator[OpenText]:
    """Open a file of text for reading.

    Raises:
        DataError: If it cannot be opened or is not a regular file.
    """
    if file.member is None:
        with _opened_file(file.path) as raw:
            with _damage_reported(str(file)):
                text = _decompressed(raw)
            yield OpenText(str(file), text, lambda _: raw.tell())
        return
    with _archive(file.path) as archive:
        with _damage_reported(str(file)):
            info = archive.getinfo(file.member)
            member = archive.open(info)
        share = info.compress_size / max(info.file_size, 1)
        with member:
            yield OpenText(str(file), cast(_Readable, member), lambda size: int(size * share))


def text_files(path: Path) -> list[TextFile]:
    """Return the files of text that a path stands for: the members of a zip archive in natural order, or itself.

    Hidden members are left out. A document that is a zip archive (.docx, .odt) is returned as itself.

    Raises:
        DataError: If it cannot be opened, or is an archive that cannot be read.
    """
    if _compression(path) != ZIP:
        return [TextFile(path)]
    with _archive(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
    if find_document(info.filename for info in members):
        return [TextFile(path)]
    for info in members:
        _check_member(path, info)
    names = sorted({info.filename for info in members}, key=natural_key)
    return [TextFile(path, name) for name in names]


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed.

    Raises:
        DataError: If it cannot be read.
    """
    return _compression(path) is not None


def refusal(file: TextFile, encoding: str) -> str | None:
    """Return why a file cannot be read as text, and what to do: it is a document or an archive, or plainly UTF-16."""
    with opened(file) as text:
        head = text.read(HEAD)
    if foreign := _foreign(file, head):
        return f"{foreign.what}, not plain text; {foreign.advice}"
    if not _is_wide(encoding) and (wide := guess_wide(head)):
        return f"every other byte is NUL; it looks like {wide}: give --encoding {wide}, or use --vocabulary bytes"
    return None


def not_text(file: TextFile, encoding: str) -> str | None:
    """Return what a file is if it does not seem to be text: foreign content, or a NUL byte near its beginning.

    UTF-16 and UTF-32 have NUL bytes.
    """
    with opened(file) as text:
        head = text.read(BINARY_PROBE)
    if foreign := _foreign(file, head):
        return foreign.what
    return "a binary file" if b"\0" in head and not _is_wide(encoding) else None


def natural_key(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return what sorts names with their numbers by value: 1, 2, 10."""
    parts: list[str | tuple[int, str]] = list(re.split("([0-9]+)", name))
    for place in range(1, len(parts), 2):
        digits = str(parts[place]).lstrip("0")
        parts[place] = (len(digits), digits)
    return parts, name


def _foreign(file: TextFile, head: bytes) -> Foreign | None:
    foreign = find_foreign(head)
    if foreign is None and file.member is None and compression(head) == ZIP:
        with _archive(file.path) as archive:
            foreign = find_document(archive.namelist())
    return foreign


def _is_wide(encoding: str) -> bool:
    return encoding.startswith(("utf-16", "utf-32"))


def _is_hidden(member: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(member).parts)


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 1:
        raise DataError(f"{path}: {info.filename} in it is encrypted; unpack it and give the text file")
    if info.compress_type not in ZIP_METHODS:
        raise DataError(
            f"{path}: {info.filename} in it is compressed by a method (number {info.compress_type}) that is not read "
            "here; unpack it and give the text file"
        )


def _compression(path: Path) -> str | None:
    with _opened_file(path) as raw, _damage_reported(str(path)):
        return compression(raw.read(HEAD))


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with _opened_file(path) as raw:
        with _damage_reported(str(path)):
            archive = zipfile.ZipFile(cast(BinaryIO, _Bounded(raw)))
        yield archive


@contextmanager
def _opened_file(path: Path) -> Iterator[BinaryIO]:
    try:
        file = open_regular(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    with file:
        yield file


@contextmanager
def _damage_reported(name: str) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise DataError(f"{name}: the compressed data ends early; get the file again") from None
    except OSError as error:
        if error.errno is not None:
            raise DataError(f"{name}: cannot be read ({error.strerror})") from None
        raise _damaged(name, error) from None  # gzip and bz2 have no error of their own
    except (zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, KeyError) as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: the compressed data is damaged ({error}); get the file again, or decompress it yourself")


def _decompressed(raw: BinaryIO) -> _Readable:
    kind = compression(raw.read(HEAD))
    raw.seek(0)
    if kind == GZIP:
        return gzip.GzipFile(fileobj=raw)
    if kind == BZIP2:
        return bz2.BZ2File(raw)
    return _Xz(raw) if kind == XZ else raw


class _Xz:
    """Decompresses xz streams, one after the other, in bounded memory: `lzma.LZMAFile` takes no limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        self._ahead = b""

    def read(self, size: int, /) -> bytes:
        piece = b""
        while not piece:
            if self._stream.eof and not self._begin_next():
                return b""
            block = b""
            if self._stream.needs_input:
                block, self._ahead = self._ahead or self._file.read(BLOCK), b""
                if not block:
                    raise EOFError
            piece = self._stream.decompress(block, size)
        return piece

    def _begin_next(self) -> bool:
        """Go on with the stream behind this one and its padding; return whether there is one."""
        ahead = self._stream.unused_data.lstrip(b"\0")
        while not ahead and (block := self._file.read(BLOCK)):
            ahead = block.lstrip(b"\0")
        if ahead:
            self._stream, self._ahead = lzma.LZMADecompressor(memlimit=XZ_MEMORY), ahead
        return bool(ahead)


class _Bounded:
    """A file whose longest read is bounded: `zipfile` reads the list of members at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of members is too long")
        return self._file.read(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)
