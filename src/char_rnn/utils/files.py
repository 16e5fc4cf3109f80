"""Opens files safely, replaces them in one step, and recognizes formats by their first bytes.

A path of the user, or a file in a run folder, can be anything: a pipe without a writer, an endless device, a link to
one. All reading of such files goes through this module. The magic numbers are those of file(1).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

_FLAGS = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_NOCTTY", "O_NONBLOCK"))  # Windows lacks most
LONGEST_PATH, LONGEST_NAME = 4096, 1000  # characters of a path that does not exist, and of a name in it
PAUSES = (0.02, 0.1, 0.5, 1.0) if os.name == "nt" else ()  # seconds between attempts to replace a file
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


class TextForPathError(FileNotFoundError, ValueError):
    """A text in the place of a path; the message is short."""


def check_is_path(path: str | Path) -> Path:
    """Return a path, which need not exist.

    Raises:
        TextForPathError: It is a text: no such file exists, and it has several lines or is longer than paths are.
    """
    text = os.fspath(path)
    too_long = len(text) >= LONGEST_PATH or any(len(name) > LONGEST_NAME for name in re.split(r"[/\\]", text))
    if ("\n" in text or too_long) and not os.path.exists(text):  # noqa: PTH110 (it never raises)
        raise TextForPathError(
            f"{text[:40]!a}...: looks like a text, not a path; save it in a file and give the path of the file"
        )
    return path if isinstance(path, Path) else Path(path)


def check_regular(path: str | Path, most: int | None = None) -> None:
    """Check, without opening it, that a path is a regular file of at most ``most`` bytes; links are followed.

    Raises:
        OSError: The file does not exist, is not a regular file, or is too large.
    """
    _check(check_is_path(path).stat(), path, most)


def open_regular(path: str | Path, most: int | None = None) -> BinaryIO:
    """Open a regular file of limited size for reading, without waiting for the other end of a pipe.

    Raises:
        OSError: As ``check_regular``, or the file may not be read.
    """
    check_regular(path, most)  # before opening, which can have effects on a device
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        _check(os.fstat(descriptor), path, most)  # the file may have been replaced
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, most: int) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes.

    Raises:
        OSError: As ``open_regular``.
    """
    with open_regular(path, most) as file:
        return read_bounded(file, most, path)


def read_bounded(file: BinaryIO, most: int, name: str | Path) -> bytes:
    """Return the rest of an open file or stream, at most ``most`` bytes; ``name`` is for the message.

    Raises:
        OSError: It is longer.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(name, most)
    return content


def _check(state: os.stat_result, path: str | Path, most: int | None) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        kind = _KINDS.get(stat.S_IFMT(state.st_mode), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))
    if most is not None and state.st_size > most:
        raise _too_large(path, most)


def _too_large(name: str | Path, most: int) -> OSError:
    return OSError(errno.EFBIG, f"longer than {most:,} bytes, the limit for such a file", str(name))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to the disk and replaces ``path``.

    It has the permissions of the file that it replaces. On an error the temporary file is removed and ``path`` is
    unchanged; an error of the system names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else None
    try:
        if mode is not None:
            temporary.touch(0o600)  # readable by nobody who could not read the old file
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        _rename(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.strerror and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    _sync_folder(path.parent)


def _rename(temporary: Path, path: Path) -> None:
    """Rename a file to ``path``; Windows refuses while another process reads the file there."""
    for pause in PAUSES:
        with suppress(PermissionError):
            temporary.replace(path)
            return
        time.sleep(pause)
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can; Windows cannot open a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


HEAD = 512  # bytes at the beginning of a file that show its format
GZIP, BZIP2, XZ, ZIP = "gzip", "bzip2", "xz", "zip"


class Foreign(NamedTuple):
    """A file that is neither text nor a model: what it is, such as "a PDF document", and what to do with it."""

    what: str
    advice: str


_COMPRESSED = {
    GZIP: rb"\x1f\x8b\x08",
    BZIP2: rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    XZ: rb"\xfd7zXZ\0",
    ZIP: rb"PK(?:\x03\x04|\x05\x06)",
}
_AS_TEXT = "save it as plain text (UTF-8) and give that file"
_UNPACK = "unpack it and give the text file, or the folder"
# A table or an object with the index 1, in both byte orders. In a safetensors file, these eight bytes would be the
# length of a header of gigabytes.
_TORCH7 = rb"[\x03\x04]\0{3}\x01\0{3}|\0{3}[\x03\x04]\0{3}\x01"
_FOREIGN = {
    _TORCH7: Foreign("a file of Torch7", "give the text (input.txt)"),
    rb"%PDF-": Foreign("a PDF document", "extract its text (pdftotext does that) and give that file"),
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": Foreign("an Office document (.doc, .xls, .ppt)", _AS_TEXT),
    rb"(?s:.{257})ustar": Foreign("a tar archive", _UNPACK),
    rb"7z\xbc\xaf\x27\x1c": Foreign("a 7-Zip archive", _UNPACK),
    rb"Rar!\x1a\x07": Foreign("a RAR archive", _UNPACK),
    rb"\{\\rtf1": Foreign("an RTF document", _AS_TEXT),
    rb"\x28\xb5\x2f\xfd": Foreign("a Zstandard file", "decompress it (zstd -d) and give the text file"),
    rb"version https://git-lfs\.github\.com/spec/": Foreign(
        "a Git LFS pointer, not the file itself", "run `git lfs pull` in its repository, or download the file"
    ),
}
_PICKLE = rb"PK\x03\x04(?s:.{26})[^/]{1,255}/data\.pkl"
_NUMPY = rb"PK\x03\x04(?s:.{26})[^/]{1,255}\.npy"
_CHECKPOINT = Foreign("a checkpoint of torch.save", "it is not opened, because loading it can run code")
_PAGE = Foreign("an HTML page", "download the file itself, not the page that shows it")
_MEMBERS = {
    "word/": Foreign("a Word document (.docx)", _AS_TEXT),
    "xl/": Foreign("an Excel workbook (.xlsx)", _AS_TEXT),
    "ppt/": Foreign("a PowerPoint presentation (.pptx)", _AS_TEXT),
    "META-INF/container.xml": Foreign("an EPUB book", _AS_TEXT),
    "META-INF/manifest.xml": Foreign("an OpenDocument file (.odt)", _AS_TEXT),
    "META-INF/MANIFEST.MF": Foreign("a Java archive (.jar)", _UNPACK),
}


def compression(head: bytes) -> str | None:
    """Return the compression of a file by its first bytes: ``GZIP``, ``BZIP2``, ``XZ``, ``ZIP``, or None."""
    return next((name for name, magic in _COMPRESSED.items() if re.match(magic, head)), None)


def find_foreign(head: bytes) -> Foreign | None:
    """Return the kind of a file by its first bytes if it cannot be plain text, else None."""
    return next((foreign for magic, foreign in _FOREIGN.items() if re.match(magic, head)), None)


def is_torch7(head: bytes) -> bool:
    """Return whether a file that is not text begins as one of Torch7, binary in either byte order, or ascii."""
    return re.match(_TORCH7 + rb"|[34]\n1\n", head) is not None


def find_document(members: Iterable[str]) -> Foreign | None:
    """Return the kind of document that a zip archive with these members is; None for an ordinary archive."""
    names = tuple(members)
    return next((kind for prefix, kind in _MEMBERS.items() if any(name.startswith(prefix) for name in names)), None)


def not_a_model(head: bytes) -> str:
    """Return the kind of a file by its first bytes and what to do with it, for a message; empty if unknown."""
    if re.match(rb"\s*(?:<!doctype html|<html)", head.removeprefix(b"\xef\xbb\xbf"), re.IGNORECASE):
        foreign: Foreign | None = _PAGE
    elif re.match(_PICKLE, head):
        foreign = _CHECKPOINT
    elif re.match(_NUMPY, head):
        foreign = Foreign("a NumPy archive (.npz)", "give a .safetensors or .t7 file")
    elif re.match(rb"\s*\{\s*\"", head):
        foreign = Foreign("a JSON file", "give the .t7 or .safetensors file beside it")
    elif is_torch7(head):
        return "a file of Torch7; in Python give char_rnn.torch7.read_model(path) in its place"
    elif packed := compression(head):
        foreign = Foreign(f"a {packed} file", "unpack it and give the model in it")
    else:
        foreign = find_foreign(head)
    return f"{foreign.what}, not a model; {foreign.advice}" if foreign else ""
