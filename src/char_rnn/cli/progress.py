"""Shows how far a text is read, encoded and downloaded, or a long work done: a bar on a terminal, else nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)


@contextmanager
def preparation(quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a function (stage, bytes done, bytes in all) that shows how far the preparation of a text is."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        with _no_warnings() if quiet else nullcontext():
            yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, object] = {}

        def progress(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield progress


@contextmanager
def counted(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a function (what is under way, parts done, parts in all) that shows how far a long work is."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield progress


@contextmanager
def _no_warnings() -> Iterator[None]:
    logger = logging.getLogger("char_rnn")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
