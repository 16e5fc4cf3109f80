"""How the cost of training grows with the text."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from char_rnn.bench.processes import ProcessError, in_own_process
from char_rnn.bench.questions import Settings
from char_rnn.bench.texts import write_text

ON_DISK = 2.1  # bytes for each of a text: itself and its indices
SPARE = 10**9  # bytes that are left on the disk
SETTLED = 3  # seconds after which a file just written is no longer read again at every start
Row = dict[str, Any]


def corpus_rows(sizes: Sequence[int], settings: Settings, steps: int) -> tuple[list[Row], list[str]]:
    """Make texts of these sizes, prepare each, then train on each in turn, always in a process of its own.

    Args:
        sizes: of the texts in 10^6 bytes.
        settings: what is asked for.
        steps: of a training.

    Returns:
        A row a text, and why others are left out.
    """
    with TemporaryDirectory(dir=settings.folder) as folder:
        sizes, notes = those_that_fit(sizes, shutil.disk_usage(folder).free)
        files = {}
        for size in sizes:
            settings.tell(f"making a text of {size:,} MB")
            files[size] = Path(folder, f"{size}.txt")
            write_text(files[size], size * 10**6)
        if hasattr(os, "sync"):
            os.sync()  # else the text's own way to the disk is measured with it
        time.sleep(SETTLED)
        cache = str(Path(folder, "cache"))
        prepared: dict[int, Row] = {}
        for size, file in files.items():
            settings.tell(f"preparing a text of {size:,} MB")
            prepared[size] = _called("prepare", notes, file=str(file), cache=cache)
        trained: dict[int, list[Row]] = {size: [] for size in files if prepared[size]}
        for number in range(settings.rounds):
            for size, runs in trained.items():
                settings.tell(f"training on a text of {size:,} MB, {number + 1} of {settings.rounds}")
                asked = {"file": str(files[size]), "cache": cache, "steps": steps, "threads": settings.threads}
                runs.append(_called("train", notes, began=time.time(), **asked))
        return [_row(size, prepared[size], runs) for size, runs in trained.items() if all(runs)], notes


def those_that_fit(sizes: Sequence[int], free: int) -> tuple[list[int], list[str]]:
    """Return the sizes, in 10^6 bytes, that the free bytes of the disk hold together, and why others are left out."""
    fitting: list[int] = []
    notes = []
    for size in sorted(sizes):
        needed = ON_DISK * 10**6 * (sum(fitting) + size) + SPARE
        if needed <= free:
            fitting.append(size)
        else:
            notes.append(
                f"{size:,} MB: the disk would have to have {needed / 1e9:.1f} GB free, it has {free / 1e9:.1f}"
            )
    return fitting, notes


def _called(function: str, notes: list[str], **arguments: Any) -> Row:
    """Return what a process measures; nothing if it fails, which is noted."""
    try:
        return dict(in_own_process(f"char_rnn.bench.corpus_runs:{function}", **arguments))
    except ProcessError as error:
        notes.append(f"{Path(arguments['file']).stem} MB: {error}")
        return {}


def _row(size: int, prepared: Row, runs: Sequence[Row]) -> Row:
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    speeds = [run["characters/s"] for run in runs]
    return {
        "text, MB": size,
        "preparing, MB/s": prepared["MB/s"],
        "its memory, MB": prepared["peak"],
        "first step after, s": median["start"],
        "of it the text, s": median["text"],
        "characters/s": median["characters/s"],
        "spread": (max(speeds) - min(speeds)) / 2 / median["characters/s"],
        "memory, MB": max(run["peak"] for run in runs),
    }
