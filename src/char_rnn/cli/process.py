"""The process of a subcommand: its standard streams, and the exit status of its errors."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.output import say

OUT_OF_MEMORY = (
    "out of memory; try a smaller training.batch_size, training.seq_length or model.hidden_size; for a large vocabulary"
    " a smaller model.embedding_size, or --vocabulary bytes"
)
LONGEST_NAME = 300  # characters of a file's name in a message
USAGE, FAILURE, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141


class _Closed(io.RawIOBase):
    """A standard stream that the parent process has closed; its use is an error, as an empty text would be wrong."""

    def __init__(self, name: str) -> None:
        self._name = name

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise OSError(errno.EBADF, "closed by the program that started this one", self._name)

    def write(self, _data: object) -> int:
        return self.readinto(_data)


class _Terminal(io.FileIO):
    """A terminal for diagnostics; after it is closed they are lost, but the program continues (to save, say)."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes  # type: ignore[arg-type]


def prepare_streams() -> None:
    """Replace closed standard streams, and let the others print every character.

    The descriptors 0 to 2 are taken first: otherwise a file opened later gets one, and the output of C libraries.
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
    """Return whether a stream writes bytes to a file; a Windows console takes characters."""
    buffer = getattr(stream, "buffer", None)
    return type(getattr(buffer, "raw", buffer)) is io.FileIO  # under python -u there is no buffer


def discard_unwritten() -> None:
    """Drop what a standard stream cannot write, so that Python does not try again at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            getattr(stream, "buffer", stream).flush()  # for click, which replaces a broken stream by one without errors
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def report(error: BaseException) -> int:
    """Print one line about ``error`` and return the exit status; ``SystemExit`` is raised again."""
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        if not isinstance(error.__context__, BrokenPipeError):
            raise error
        error = error.__context__  # click and rich exit with status 1 after it
    if isinstance(error, OSError):
        discard_unwritten()
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        say("interrupted")
        return INTERRUPTED
    shared = os.environ.get("WORLD_SIZE", "1") != "1"  # torchrun started several processes
    where = f" in process {os.environ.get('RANK', '0')}" if shared else ""
    try:
        say(f"error{where}: {one_line(error)}")
    except OSError:  # the reader is gone, or the disk is full: the exit status remains
        discard_unwritten()
    groups = sys.modules.get("char_rnn.training.process_group")
    if groups is not None and isinstance(error, groups.RankLostError):
        sys.stdout.flush()
        os._exit(FAILURE)  # an orderly exit aborts: gloo's threads wait for the lost process
    from char_rnn.data.vocabulary import UnknownCharacterError
    from char_rnn.utils.config import ConfigError

    usage = (click.UsageError, ConfigError, UnknownCharacterError, FileNotFoundError, IsADirectoryError)
    return USAGE if isinstance(error, usage) else FAILURE


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, click.UsageError):
        where = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
        return _joined(error.format_message()) + where
    if isinstance(error, click.ClickException):
        return _joined(error.format_message())
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[:1].lower() + error.strerror[1:]
        name = str(error.filename or "")
        place = f"{name[:LONGEST_NAME]}..." if len(name) > LONGEST_NAME else name
        return f"{place}: {reason}" if place else reason
    if _is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, (ValueError, OSError, RuntimeError)) and str(error):
        return _joined(str(error))
    return f"{type(error).__name__}: {_joined(str(error))} (a mistake in char-rnn; --debug shows where)"


def _is_out_of_memory(error: BaseException) -> bool:
    if not isinstance(error, (MemoryError, RuntimeError)):
        return False
    if "torch" not in sys.modules:  # importing it for another error would take seconds
        return isinstance(error, MemoryError)
    from char_rnn.utils.device import is_out_of_memory

    return is_out_of_memory(error)


def _joined(text: str) -> str:
    return " ".join(text.split())
