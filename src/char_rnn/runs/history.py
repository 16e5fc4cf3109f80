"""What a run measured on its way, read from its folder; without torch, so that looking at runs starts at once.

``metrics.jsonl`` is one JSON object a line, a record. One with a ``split`` is a measurement, one with an ``event`` says
what happened at a step. Any other line is left out and counted as damage, but for the last: a crash can cut it short.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from char_rnn.data.corpus import SPLITS
from char_rnn.runs import CONFIG, METRICS
from char_rnn.utils.config import ConfigError, load_config
from char_rnn.utils.files import open_regular

MAX_METRICS = 2 << 30  # bytes of metrics.jsonl; ten million records


class Point(NamedTuple):
    """A measurement: where, and the loss in nats; what is not told is NaN, and a loss that is no number infinite."""

    step: int
    epoch: float
    seconds: float
    loss: float


@dataclass(frozen=True)
class History:
    """The measurements of a run.

    Attributes:
        folder: the run folder.
        points: by split (train, val, test), in the order they were made.
        rollbacks: the steps at which the run went back to an earlier state.
        unreadable: how many lines are no records; the last one, cut short, does not count.
        unit: what the model predicts, character or byte.
    """

    folder: Path
    points: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    rollbacks: Sequence[int] = ()
    unreadable: int = 0
    unit: str = "character"

    def finite(self, split: str) -> list[Point]:
        """Return the measurements of a split whose loss is a number."""
        return [point for point in self.points.get(split, ()) if math.isfinite(point.loss)]

    @property
    def infinite(self) -> int:
        """How many measurements are of a loss that is no finite number."""
        return sum(not math.isfinite(point.loss) for points in self.points.values() for point in points)

    @property
    def best(self) -> Point | None:
        """The lowest validation loss, the first where it was reached twice; None where nothing was validated."""
        return min(self.finite("val"), key=lambda point: point.loss, default=None)


def read_history(folder: str | Path) -> History:
    """Read the measurements of a run, finished or not.

    Raises:
        FileNotFoundError: it is no run folder.
    """
    folder = Path(folder)
    path = folder / METRICS
    if not path.exists():
        raise FileNotFoundError(f"{folder}: no run to be seen here (no {METRICS}); give the folder that `--out` named")
    points: dict[str, list[Point]] = {}
    rollbacks: list[int] = []
    unreadable, torn = 0, False
    for _, record in read_lines(path):
        unreadable, torn = unreadable + torn, record is None
        if record is None:
            continue
        if record.get("split") in SPLITS:
            points.setdefault(record["split"], []).append(_point(record))
        elif record.get("event") == "rollback":
            rollbacks.append(record["step"])
    return History(folder, points, rollbacks, unreadable, _unit(folder))


def last_record(folder: Path, reach: int = 1 << 16) -> Mapping[str, Any] | None:
    """Return the last record in the last ``reach`` bytes of a run's measurements; None without one."""
    path = folder / METRICS
    if not path.exists():
        return None
    with open_regular(path, MAX_METRICS) as file:
        file.seek(-min(reach, path.stat().st_size), 2)
        lines = file.read(reach).splitlines()
    return next((record for line in reversed(lines) if (record := _record(line)) is not None), None)


def number(value: object) -> float:
    """Return a JSON value as a float; NaN for what is none, or too large for one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _unit(folder: Path) -> str:
    """Return what the model predicts; without a readable configuration, what most models do."""
    try:
        return "byte" if load_config(folder / CONFIG).data.vocabulary == "bytes" else "character"
    except ConfigError:
        return "character"


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yield the lines of a run's measurements, each with its record; None for a line that is not a record.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is larger than `MAX_METRICS`.
    """
    with open_regular(path, MAX_METRICS) as file:
        for line in file:
            if line.strip():
                yield line, _record(line)


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record in a line; None where there is none with a step."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not 0 <= number(record.get("step")) < 2**53:
        return None
    return {**record, "step": int(record["step"])}


def _point(record: Mapping[str, Any]) -> Point:
    loss = number(record.get("loss"))
    return Point(
        record["step"],
        number(record.get("epoch")),
        number(record.get("seconds")),
        loss if math.isfinite(loss) else math.inf,
    )
