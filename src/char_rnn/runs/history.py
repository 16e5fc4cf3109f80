"""Reads the measurements of a run from its folder.

``metrics.jsonl`` has one JSON object per line, a record. A record with a ``split`` is a measurement, one with an
``event`` reports an event at a step. Any other line is skipped and counted as damaged, except the last: a crash can cut
it short.
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


class Measurement(NamedTuple):
    """A loss in nats, and when it was measured; an unknown number is NaN, and a loss that is not finite is infinite."""

    step: int
    epoch: float
    seconds: float
    loss: float


@dataclass(frozen=True)
class History:
    """The measurements of a run.

    Attributes:
        folder: Run folder.
        points: Measurements by split (train, val, test), in their order.
        rollbacks: Steps at which the run went back to an earlier state.
        unreadable: Number of lines that are not records, without a last one that was cut short.
        unit: Unit of prediction, character or byte.
    """

    folder: Path
    points: Mapping[str, Sequence[Measurement]] = field(default_factory=dict)
    rollbacks: Sequence[int] = ()
    unreadable: int = 0
    unit: str = "character"

    def finite(self, split: str) -> list[Measurement]:
        """Return the measurements of a split with a finite loss."""
        return [point for point in self.points.get(split, ()) if math.isfinite(point.loss)]

    @property
    def infinite(self) -> int:
        """Number of measurements whose loss is NaN or infinite."""
        return sum(not math.isfinite(point.loss) for points in self.points.values() for point in points)

    @property
    def best(self) -> Measurement | None:
        """The first measurement of the lowest validation loss; None without validation."""
        return min(self.finite("val"), key=lambda point: point.loss, default=None)


def read_history(folder: str | Path) -> History:
    """Read the measurements of a run, finished or not.

    Raises:
        FileNotFoundError: It is not a run folder.
    """
    folder = Path(folder)
    path = folder / METRICS
    if not path.exists():
        raise FileNotFoundError(f"{folder}: not a run folder (no {METRICS}); give the folder that `--out` named")
    points: dict[str, list[Measurement]] = {}
    rollbacks: list[int] = []
    unreadable, torn = 0, False
    for _, record in read_lines(path):
        unreadable, torn = unreadable + torn, record is None
        if record is None:
            continue
        if record.get("split") in SPLITS:
            points.setdefault(record["split"], []).append(_measurement(record))
        elif record.get("event") == "rollback":
            rollbacks.append(record["step"])
    return History(folder, points, rollbacks, unreadable, _unit(folder))


def _measurement(record: Mapping[str, Any]) -> Measurement:
    epoch, seconds, loss = (number(record.get(name)) for name in ("epoch", "seconds", "loss"))
    return Measurement(record["step"], epoch, seconds, loss if math.isfinite(loss) else math.inf)


def _unit(folder: Path) -> str:
    """Return the unit of prediction; character, the usual one, if the configuration is not readable."""
    try:
        return "byte" if load_config(folder / CONFIG, any_cell=True).data.vocabulary == "bytes" else "character"
    except ConfigError:
        return "character"


def last_record(path: Path, reach: int = 1 << 16) -> Mapping[str, Any] | None:
    """Return the last record in the last ``reach`` bytes of a run's measurements; None if there is none."""
    with open_regular(path, MAX_METRICS) as file:
        file.seek(-min(reach, path.stat().st_size), 2)
        lines = file.read(reach).splitlines()
    return next((record for line in reversed(lines) if (record := record_of(line)) is not None), None)


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yield the lines of a run's measurements, each with its record; None for a line that is not a record.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is larger than `MAX_METRICS`.
    """
    with open_regular(path, MAX_METRICS) as file:
        for line in file:
            if line.strip():
                yield line, record_of(line)


def record_of(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line; None if it is not one with a step."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not 0 <= number(record.get("step")) < 2**53:
        return None
    return {**record, "step": int(record["step"])}


def number(value: object) -> float:
    """Return a JSON value as a float; NaN if it is not a number, or too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
