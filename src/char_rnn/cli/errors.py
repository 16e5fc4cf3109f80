"""Turns errors into one line on standard error and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.output import say
from char_rnn.cli.process import discard_unwritten

OUT_OF_MEMORY = (
    "out of memory; try a smaller training.batch_size, training.seq_length or model.hidden_size; for a large alphabet a"
    " smaller model.embedding_size, or --vocabulary bytes"
)
LONGEST_NAME = 300  # characters of a file's name in a message
USAGE, FAILURE, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141


class ReaderGone(Exception):  # noqa: N818 (an event, as KeyboardInterrupt)
    """The reader of a standard stream has closed it."""


@contextmanager
def reader_gone() -> Iterator[None]:
    """Turn a broken pipe into :class:`ReaderGone`; click and rich would exit with status 1."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        discard_unwritten()
        raise ReaderGone from error


def report(error: BaseException) -> int:
    """Print one line about ``error`` and return the exit status; ``SystemExit`` is raised again."""
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, OSError):
        discard_unwritten()
    if isinstance(error, (BrokenPipeError, ReaderGone)):
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
    if _is_loss_of_a_rank(error):
        sys.stdout.flush()
        os._exit(FAILURE)  # an orderly exit aborts: gloo's threads wait for the lost process
    return exit_status(error)


def exit_status(error: BaseException) -> int:
    """Return 2 for an error of the command line or the configuration, 1 for any other failure."""
    from char_rnn.data.vocabulary import UnknownCharacterError
    from char_rnn.utils.config import ConfigError

    usage = (click.UsageError, ConfigError, UnknownCharacterError, FileNotFoundError, IsADirectoryError)
    return USAGE if isinstance(error, usage) else FAILURE


def _is_loss_of_a_rank(error: BaseException) -> bool:
    module = sys.modules.get("char_rnn.training.process_group")
    return module is not None and isinstance(error, module.RankLostError)


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
