"""Reading compressed files in pieces and in bounded memory."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

from char_rnn.data.errors import DataError
from char_rnn.utils.file_kinds import BZIP2, GZIP, HEAD, XZ, compression

BLOCK = 1 << 16  # compressed bytes read at once
XZ_MEMORY = 256 << 20  # bytes; `xz -9` needs 65 MB to decompress
MAX_DIRECTORY = 16 << 20  # bytes of a zip archive's list of members; Python takes ten times that for it


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""


@contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Raise a `DataError` that names the file, for whatever goes wrong when compressed data is read."""
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


def decompressed(raw: BinaryIO) -> Readable:
    """Return the content of an open file: decompressed if it begins as gzip, bzip2 or xz, else as it is."""
    kind = compression(raw.read(HEAD))
    raw.seek(0)
    if kind == GZIP:
        return gzip.GzipFile(fileobj=raw)
    if kind == BZIP2:
        return bz2.BZ2File(raw)
    return _Xz(raw) if kind == XZ else raw


def zip_archive(raw: BinaryIO) -> zipfile.ZipFile:
    """Open an archive; it is not decompressed yet.

    Raises:
        BadZipFile: If its list of members is damaged or too long.
    """
    return zipfile.ZipFile(cast(BinaryIO, _Bounded(raw)))


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
