"""Output of the subcommands: results to standard output, diagnostics and progress to standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import rich_click as click

from char_rnn.utils.terminal import counted, visible, visible_name, visible_pieces, wrapped

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.training import Evaluation

_FLUSH_INTERVAL = 0.1
"""Longest time in seconds that text waits before it is written to a file or pipe: frequent writes are expensive."""


def say(message: str, *, quiet: bool = False, wrap: bool = False) -> None:
    """Print a diagnostic to standard error, with control characters escaped.

    Args:
        message: One or more lines.
        quiet: Print nothing.
        wrap: Break lines at words to fit the terminal; not for commands, which would be pasted in pieces.
    """
    if not quiet:
        wrap = wrap and sys.stderr.isatty()
        click.echo(wrapped(visible(message), _columns(sys.stderr)) if wrap else visible(message), err=True)


def print_result(text: str) -> None:
    """Print a result line to standard output; on a terminal, escape control characters and break lines at words."""
    if sys.stdout.isatty():
        text = wrapped(visible(text), _columns(sys.stdout))
    click.echo(text, color=True)  # otherwise click removes control sequences


def _columns(stream: TextIO) -> int:
    from rich.console import Console

    return Console(file=stream).width


def write_text(text: str) -> None:
    """Write text to standard output as :func:`write_pieces` does."""
    write_pieces((text,))


def write_pieces(pieces: Iterable[str]) -> None:
    """Write pieces of text to standard output as UTF-8 when they arrive; on a terminal, escape control characters."""
    safe = visible_pieces(pieces) if sys.stdout.isatty() else pieces
    write_bytes(piece.encode("utf-8", "surrogateescape") for piece in safe)


def write_bytes(pieces: Iterable[bytes]) -> None:
    """Write pieces to standard output when they arrive: to a terminal each at once, elsewhere every 0.1 seconds."""
    sys.stdout.flush()
    is_terminal, output, due = sys.stdout.isatty(), sys.stdout.buffer, 0.0
    try:
        for piece in pieces:
            output.write(piece)
            if is_terminal or time.monotonic() >= due:
                output.flush()
                due = time.monotonic() + _FLUSH_INTERVAL
    finally:
        output.flush()


def describe_evaluation(evaluation: Evaluation, unit: str) -> str:
    """Return an evaluation in words; ``unit`` is the model's symbol, character or byte."""
    return (
        f"{evaluation.loss:.4f} nats per {unit}, {evaluation.bits_per_character:.4f} bits per {unit}, "
        f"perplexity {evaluation.perplexity:.3f}, over {evaluation.characters:,} {unit}s"
        + (f" of the split's {evaluation.of:,}" if evaluation.of is not None else "")
    )


def describe_new_symbols(vocabulary: Vocabulary, training: Mapping[str, Any], shown: int = 30) -> str:
    """Return the number of symbols that a run added to its vocabulary, and the first of them; empty without any."""
    count = int(training.get("new_symbols", 0))
    added = vocabulary.labels[vocabulary.size - count :]
    more = f" and {count - shown:,} more" if count > shown else ""
    return f"{counted(count, 'new symbol')}: {' '.join(map(visible_name, added[:shown]))}{more}" if count else ""


@contextmanager
def preparation(quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a function (stage, bytes done, total bytes) that draws progress bars; None without a terminal."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), DownloadColumn(), TransferSpeedColumn())
    logger = logging.getLogger("char_rnn")
    level = logger.level
    if quiet:
        logger.setLevel(logging.ERROR)
    try:
        with _progress(quiet, columns) as bars:
            tasks: dict[str, object] = {}

            def show(stage: str, done: int, total: int | None) -> None:
                assert bars is not None
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

            yield None if bars is None else show
    finally:
        logger.setLevel(level)


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (description, parts done, total parts) that draws a progress bar if there is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    with _progress(quiet, (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))) as bars:
        if bars is None:
            yield lambda *_: None
            return
        task = bars.add_task("")
        yield lambda what, done, total: bars.update(task, description=what, completed=done, total=total)


@contextmanager
def _progress(quiet: bool, columns: Iterable[ProgressColumn]) -> Iterator[Progress | None]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars
