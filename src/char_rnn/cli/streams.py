"""Standard streams that are closed, that close while a program runs, or that cannot print every character."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO


class _Closed(io.RawIOBase):
    """A standard stream that the parent process has closed: using it is an error, as an empty text would be wrong."""

    def __init__(self, name: str) -> None:
        self._name = name

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise OSError(errno.EBADF, "closed by the program that started this one", self._name)

    def write(self, _data: object) -> int:
        raise OSError(errno.EBADF, "closed by the program that started this one", self._name)


class _Terminal(io.FileIO):
    """A terminal for diagnostics; when it is closed they are lost, and the program goes on (to save, say)."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes  # type: ignore[arg-type]


def prepare_streams() -> None:
    """Replace standard streams that are closed, and let the others print every character.

    The numbers 0 to 2 are taken first: a file opened later would get them, and what C libraries print with it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed("standard input")))
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(_Closed("standard output"), write_through=True)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    elif sys.stderr.isatty() and _is_plain_file(sys.stderr):
        terminal = io.BufferedWriter(_Terminal(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(terminal, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_plain_file(stream: TextIO) -> bool:
    """Tell whether a stream writes bytes to a file; a console of Windows takes characters."""
    buffer = getattr(stream, "buffer", None)
    return type(getattr(buffer, "raw", buffer)) is io.FileIO  # there is no buffer under python -u


def discard_unwritten() -> None:
    """Drop what a standard stream cannot write, so that Python does not try once more at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
