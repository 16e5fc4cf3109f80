"""Files of text: plain, compressed by gzip, bzip2 or xz, or members of a zip archive.

The first bytes of a file determine its kind, whatever its name. Files are decompressed in pieces, in bounded memory.
"""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from char_rnn.data import DataError
from char_rnn.utils.files import (
    BZIP2,
    GZIP,
    HEAD,
    XZ,
    ZIP,
    Foreign,
    compression,
    find_document,
    find_foreign,
    open_regular,
)

BLOCK = 1 << 16  # compressed bytes read at once
XZ_MEMORY = 256 << 20  # bytes; `xz -9` needs 65 MB to decompress
MAX_DIRECTORY = 16 << 20  # bytes of a zip archive's list of members; Python takes ten times that for it
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile decompresses the others without a bound
SUFFIXES = (".gz", ".bz2", ".xz", ".zip")


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""


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
        """The path, followed by the member."""
        return self.path if self.member is None else self.path / self.member

    def __str__(self) -> str:
        return str(self.place)


class OpenText:
    """An open file of text, decompressed.

    Attributes:
        done: Returns how many bytes of the file on the disk were read.
    """

    def __init__(self, name: str, text: Readable, done: Callable[[], int]) -> None:
        self._name = name
        self._text = text
        self.done = done

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end.

        Raises:
            DataError: The bytes cannot be read or decompressed.
        """
        with _damage_reported(self._name):
            return self._text.read(size)


def opened(files: Iterable[TextFile]) -> Iterator[tuple[TextFile, OpenText]]:
    """Open files of text one after the other; members of an archive in a row share one opening.

    Raises:
        DataError: A file cannot be opened or is not a regular file.
    """
    for path, group in groupby(files, key=lambda file: file.path):
        same = list(group)
        if same[0].member is not None:
            with _archive(path) as archive:
                for file in same:
                    with _member(archive, file) as text:
                        yield file, text
            continue
        for file in same:
            with _opened_file(path) as raw:
                with _damage_reported(str(file)):
                    content = _decompressed(raw)
                yield file, OpenText(str(file), content, raw.tell)


def text_files(path: Path) -> list[TextFile]:
    """Return the files of text in a file: the visible members of a zip archive in natural order, or the file itself.

    A document that is a zip archive (.docx, .odt) is returned itself.

    Raises:
        DataError: The file cannot be opened, or is an archive that cannot be read.
    """
    if compression_of(path) != ZIP:
        return [TextFile(path)]
    with _archive(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
    if find_document(info.filename for info in members):
        return [TextFile(path)]
    for info in members:
        _check_member(path, info)
    return [TextFile(path, name) for name in sorted({info.filename for info in members}, key=natural_key)]


def find_foreign_in(file: TextFile, head: bytes) -> Foreign | None:
    """Return the kind of a file that begins with `head` if it is a document or an archive; None if it may be text."""
    foreign = find_foreign(head)
    if foreign is None and file.member is None and compression(head) == ZIP:
        with _archive(file.path) as archive:
            foreign = find_document(archive.namelist())
    return foreign


def natural_key(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a key that sorts names with numbers by value: 1, 2, 10."""
    parts: list[str | tuple[int, str]] = list(re.split("([0-9]+)", name))
    for place in range(1, len(parts), 2):
        digits = str(parts[place]).lstrip("0")
        parts[place] = (len(digits), digits)
    return parts, name


def _is_hidden(member: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(member).parts)


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 1:
        raise DataError(f"{path}: its member {info.filename} is encrypted; unpack it and give the text file")
    if info.compress_type not in ZIP_METHODS:
        what = f"its member {info.filename} is compressed with an unsupported method (number {info.compress_type})"
        raise DataError(f"{path}: {what}; unpack it and give the text file")


def compression_of(path: Path) -> str | None:
    """Return the compression of a file, as `char_rnn.utils.files.compression`; raise DataError if it cannot be read."""
    with _opened_file(path) as raw, _damage_reported(str(path)):
        return compression(raw.read(HEAD))


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with _opened_file(path) as raw:
        with _damage_reported(str(path)):
            archive = zipfile.ZipFile(cast(BinaryIO, _Bounded(raw)))
        yield archive


@contextmanager
def _member(archive: zipfile.ZipFile, file: TextFile) -> Iterator[OpenText]:
    with _damage_reported(str(file)):
        info = archive.getinfo(file.member or "")
        content = archive.open(info)
    share = info.compress_size / max(info.file_size, 1)
    with content:
        yield OpenText(str(file), cast(Readable, content), lambda: int(content.tell() * share))


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
    """Raise a `DataError` that names the file for any error of reading or decompressing."""
    try:
        yield
    except EOFError:
        raise DataError(f"{name}: the compressed data ends early; get the file again") from None
    except (OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # gzip and bz2 raise an OSError without one
            raise DataError(f"{name}: cannot be read ({error.strerror})") from None
        advice = "get the file again, or decompress it yourself"
        raise DataError(f"{name}: the compressed data is damaged ({error}); {advice}") from None


def _decompressed(raw: BinaryIO) -> Readable:
    """Return the content of an open file, decompressed if it begins as gzip, bzip2 or xz."""
    kind = compression(raw.read(HEAD))
    raw.seek(0)
    if kind == GZIP:
        return gzip.GzipFile(fileobj=raw)
    if kind == BZIP2:
        return bz2.BZ2File(raw)
    return _Xz(raw) if kind == XZ else raw


class _Xz:
    """Decompresses consecutive xz streams in bounded memory: `lzma.LZMAFile` has no limit."""

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
        """Begin the stream after this one and its padding; return whether there is one."""
        ahead = self._stream.unused_data.lstrip(b"\0")
        while not ahead and (block := self._file.read(BLOCK)):
            ahead = block.lstrip(b"\0")
        if ahead:
            self._stream, self._ahead = lzma.LZMADecompressor(memlimit=XZ_MEMORY), ahead
        return bool(ahead)


class _Bounded:
    """A file with a limit for a single read: `zipfile` reads the list of members at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of members is too long")
        return self._file.read(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)
