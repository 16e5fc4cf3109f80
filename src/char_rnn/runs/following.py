"""Follows a run while it trains: its state, losses and samples, read from its folder as its files grow."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from char_rnn.data.corpus import SPLITS
from char_rnn.runs import CONFIG, METRICS, SAMPLES, STATE
from char_rnn.runs.history import MAX_METRICS, number, record_of
from char_rnn.runs.listing import RunSummary, summarize
from char_rnn.utils.files import open_regular
from char_rnn.utils.locking import holder
from char_rnn.utils.model_files import BEST, LAST

POINTS = 200  # of a curve at least, and twice as many at most
SAMPLES_KEPT, LONGEST_SAMPLE = 20, 2000
PIECE = 8 << 20  # bytes of a file to read at once
RECORDS_OF_PACE = 30
DIGITS = 5
LARGEST = 1e30  # number in a record; a larger one is ignored

Point = tuple[int, float]
"""A step and a loss, in nats."""

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class RunProgress:
    """How far a run has trained.

    Attributes:
        state: running, finished, or interrupted (neither).
        step: Last recorded step.
        total_steps: Last step of the run if known; an estimate in a timed run.
        epoch: Passes over the training split.
        seconds: Time spent.
        seconds_left: Estimate of the time left while it is running, if known.
        best: Step and loss of the lowest validation loss.
        train, val: Losses on the splits; neighbouring points of a long run are averaged.
        samples: Step and beginning of the latest samples, in order.
    """

    state: Literal["running", "finished", "interrupted"]
    step: int
    total_steps: int | None
    epoch: float | None
    seconds: float | None
    seconds_left: float | None
    best: Point | None
    train: Sequence[Point]
    val: Sequence[Point]
    samples: Sequence[tuple[int, str]]


class Curve:
    """The losses on a split in at most ``2 * POINTS`` points: neighbours are averaged as more are added."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._latest: list[tuple[float, float]] = []
        self._stride = 1  # losses averaged in a point

    def add(self, step: int, loss: float) -> None:
        """Add a loss."""
        self._latest.append((step, loss))
        if len(self._latest) == self._stride:
            self._points.append(_mean(self._latest))
            self._latest.clear()
        if len(self._points) == 2 * POINTS:
            self._points = [_mean(pair) for pair in zip(self._points[::2], self._points[1::2], strict=True)]
            self._stride *= 2

    def points(self) -> list[Point]:
        """Return the points so far."""
        points = [*self._points, *([_mean(self._latest)] if self._latest else [])]
        return [(round(step), round(loss, DIGITS)) for step, loss in points]


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return fmean(step for step, _ in points), fmean(loss for _, loss in points)


class GrowingFile:
    """A file of records that another process appends to, or replaces by a shorter one."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._identity: tuple[int, int] | None = None

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Return the records added since the last call, and whether they begin anew because the file was replaced.

        Of a large file, each call reads a piece.

        Raises:
            OSError: The file exists, but cannot be read.
        """
        try:
            with open_regular(self._path, MAX_METRICS) as file:
                status = os.fstat(file.fileno())
                identity = status.st_dev, status.st_ino
                anew = self._identity is not None and (identity != self._identity or status.st_size < self._offset)
                self._offset, self._identity = 0 if anew else self._offset, identity
                file.seek(self._offset)
                added = file.read(PIECE)
        except FileNotFoundError:
            anew, added, self._offset, self._identity = self._identity is not None, b"", 0, None
        whole = added.rfind(b"\n") + 1
        self._offset += whole or (len(added) if len(added) == PIECE else 0)
        records = (record_of(line) for line in added[:whole].splitlines())
        return anew, [record for record in records if record is not None]


class RunFollower:
    """Reads the progress of a run again and again; only what has changed is read. For one thread at a time."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._metrics, self._texts = GrowingFile(self.folder / METRICS), GrowingFile(self.folder / SAMPLES)
        self._samples: deque[tuple[int, str]] = deque(maxlen=SAMPLES_KEPT)
        self._summary: RunSummary | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._signatures: list[Signature | None] = []  # of the files that are summarized
        self._curves = {split: Curve() for split in SPLITS}
        self._latest: deque[tuple[int, float]] = deque(maxlen=RECORDS_OF_PACE)  # steps and seconds
        self._epoch: float | None = None
        self._best: Point | None = None

    def read(self) -> RunProgress:
        """Return the progress.

        Raises:
            OSError: A file of the folder cannot be read.
        """
        self._read_metrics()
        self._read_samples()
        summary = self._summarized()
        running = holder(self.folder) is not None
        step, seconds = self._latest[-1] if self._latest else (summary.steps, summary.seconds)
        total = summary.total_steps
        return RunProgress(
            state="running" if running else "finished" if summary.state == "finished" else "interrupted",
            step=step,
            total_steps=total,
            epoch=summary.epochs if self._epoch is None else self._epoch,
            seconds=seconds,
            seconds_left=self._seconds_left(total) if running else None,
            best=self._best,
            train=self._curves["train"].points(),
            val=self._curves["val"].points(),
            samples=tuple(self._samples),
        )

    def _read_metrics(self) -> None:
        anew, records = self._metrics.read()
        if anew:
            self._begin_anew()
        for record in records:
            split, step, loss = record.get("split"), record["step"], number(record.get("loss"))
            if split not in SPLITS:
                continue
            seconds, epoch = number(record.get("seconds")), number(record.get("epoch"))
            if 0 <= seconds < LARGEST and 0 <= epoch < LARGEST:
                self._epoch = epoch
                self._latest.append((step, seconds))
            if not abs(loss) < LARGEST:  # nor NaN
                continue
            self._curves[split].add(step, loss)
            if split == "val" and (self._best is None or loss < self._best[1]):
                self._best = step, round(loss, DIGITS)

    def _read_samples(self) -> None:
        anew, records = self._texts.read()
        if anew:
            self._samples.clear()
        for record in records:
            if isinstance(record.get("text"), str):
                self._samples.append((record["step"], record["text"][:LONGEST_SAMPLE]))

    def _summarized(self) -> RunSummary:
        """Return the summary of the run, made again if a file other than those that grow has changed."""
        signatures = [signature_of(self.folder / name) for name in (CONFIG, STATE, BEST, LAST)]
        unknown = self._summary is None or self._summary.total_steps is None
        if unknown or signatures != self._signatures:
            self._summary, self._signatures = summarize(self.folder), signatures
        assert self._summary is not None
        return self._summary

    def _seconds_left(self, total: int | None) -> float | None:
        if total is None or len(self._latest) < 2:
            return None
        (before, then), (step, now) = self._latest[0], self._latest[-1]
        return max(0, round((total - step) * (now - then) / (step - before))) if step > before else None


def signature_of(path: Path) -> Signature | None:
    """Return numbers that change with the content of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
