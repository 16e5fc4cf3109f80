"""Opens files safely, and replaces them in one step.

What a user names, or what stands in a folder under a name of ours, can be anything: a pipe that nobody writes to, a
device without an end, a link to one. Everything that reads a file of ours opens it here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_FLAGS = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_NOCTTY", "O_NONBLOCK"))  # Windows lacks most
LONGEST_PATH, LONGEST_NAME = 4096, 1000  # characters of a path that does not exist, and of a name in it
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class TextForPathError(FileNotFoundError, ValueError):
    """A text in the place of a path; the message is short."""


def check_is_path(path: str | Path) -> Path:
    """Return a path; it need not exist, but a text in its place is refused.

    Raises:
        TextForPathError: no such file exists, and it has several lines or is longer than paths are.
    """
    text = os.fspath(path)
    too_long = len(text) >= LONGEST_PATH or any(len(name) > LONGEST_NAME for name in re.split(r"[/\\]", text))
    if ("\n" in text or too_long) and not os.path.exists(text):  # noqa: PTH110 (it raises nothing, whatever the text)
        raise TextForPathError(
            f"{text[:40]!a}...: looks like a text, not a path; save it in a file and give the path of that"
        )
    return path if isinstance(path, Path) else Path(path)


def check_regular(path: str | Path, most: int | None = None) -> None:
    """Check, without opening it, that a path is a regular file of a bounded size; a link counts as its target.

    Args:
        path: the file.
        most: bytes that it may have; None for a file that is read in pieces.

    Raises:
        OSError: there is no such file, it is not a regular file, or it is too large.
    """
    _check(check_is_path(path).stat(), path, most)


def open_regular(path: str | Path, most: int | None = None) -> BinaryIO:
    """Open a regular file of a bounded size for reading; never waits for the other end of a pipe.

    Raises:
        OSError: as ``check_regular``, or the file may not be read.
    """
    check_regular(path, most)  # opening a device can have effects of its own
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        _check(os.fstat(descriptor), path, most)  # it may have been replaced since
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, most: int) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes.

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(path, most) as file:
        return read_bounded(file, most, path)


def read_bounded(file: BinaryIO, most: int, name: str | Path) -> bytes:
    """Return the rest of an open file or stream, at most ``most`` bytes; ``name`` is for the message.

    Raises:
        OSError: it holds more.
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
    return OSError(errno.EFBIG, f"longer than {most:,} bytes, the most that is read of such a file", str(name))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is flushed to the disk and takes the place of ``path``.

    It has the permissions of the file that it replaces. On any error the temporary file is removed and ``path`` stays
    as it was; what the system says of the temporary file is said of ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mode = _permissions(path)
    try:
        if mode is not None:
            temporary.touch(0o600)  # nobody may read it meanwhile who could not read the other
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.strerror and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    _sync_folder(path.parent)


def _permissions(path: Path) -> int | None:
    """Return a file's permissions, or None where there is no file."""
    return stat.S_IMODE(path.stat().st_mode) if path.is_file() else None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can (POSIX); a folder cannot be opened on Windows."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
