"""A run's measurements: averaged over steps, told to the listeners, and kept in ``metrics.jsonl``."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from char_rnn.runs.history import read_lines
from char_rnn.training.evaluation import Evaluation, perplexity
from char_rnn.utils.files import check_regular, replacing

if TYPE_CHECKING:
    from char_rnn.training.callbacks import Callback

_logger = logging.getLogger("char_rnn")

MEMORY = "memory_"


class MetricsFile:
    """``metrics.jsonl``: one JSON object a line, in the order of the steps, full precision."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; it is in the file when this returns.

        Raises:
            OSError: it cannot be written, or the disk is full.
        """
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(_json_line(record))
        except OSError as error:  # what fails when the file is closed does not tell its name
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def sync(self) -> None:
        """Flush the records to the disk, if there are any."""
        with suppress(FileNotFoundError):
            check_regular(self.path)
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Return all whole records; lines that are not records are left out."""
        return [record for _, record in self._lines() if record is not None]

    def cut_back(self, step: int, splits: Collection[str]) -> None:
        """Drop what a run resumed at ``step`` records again: all after it, and at it all but ``splits``.

        Lines that are not records are dropped too, with a warning where a crash cannot be the reason.
        """
        lines = self._lines()
        if damaged := sum(record is None for _, record in lines[:-1]):
            _logger.warning("%s: damaged; lines that are not records were left out: %d", self.path, damaged)
        kept = [line for line, r in lines if r and (r["step"] < step or (r["step"] == step and _is_of(r, splits)))]
        with replacing(self.path) as temporary:
            temporary.write_bytes(b"".join(line.rstrip() + b"\n" for line in kept))

    def _lines(self) -> list[tuple[bytes, dict[str, Any] | None]]:
        return list(read_lines(self.path)) if self.path.exists() else []


def _is_of(record: Mapping[str, Any], splits: Collection[str]) -> bool:
    return "event" in record or record.get("split") in splits


def _json_line(record: Mapping[str, Any]) -> str:
    """JSON knows no infinity and no NaN: null stands for them."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


class MetricsLogger:
    """Averages over the steps between two records, makes the records, and tells the listeners."""

    def __init__(self, callbacks: Sequence[Callback], clock: Callable[[], float]) -> None:
        self.callbacks, self._clock = list(callbacks), clock
        self._loss_sum = self._steps = 0.0
        self._characters, self._since = 0, clock()

    def tell(self, event: str, *args: Any) -> None:
        """Call the method ``event`` of every listener."""
        for callback in self.callbacks:
            getattr(callback, event)(*args)

    def add_step(self, loss: float, characters: int, share: float = 1.0) -> None:
        """Count one training step.

        Args:
            loss: its mean, in nats per character.
            characters: how many it had.
            share: those by the number of a usual step; the step counts for as much in the mean.
        """
        self._loss_sum, self._steps = self._loss_sum + share * loss, self._steps + share
        self._characters += characters

    def record_training(
        self,
        position: Mapping[str, float],
        learning_rate: float,
        gradient_norm: float,
        memory: Mapping[str, int],
    ) -> None:
        """Tell the mean loss since the last training record, the speed since the clock was started, and the memory."""
        elapsed = self._clock() - self._since
        speed = self._characters / elapsed if elapsed > 0 else 0.0
        more = {
            "learning_rate": learning_rate,
            "gradient_norm": gradient_norm,
            "characters_per_second": speed,
            **{MEMORY + name: size for name, size in memory.items()},
        }
        self._record(position, "train", self._loss_sum / (self._steps or 1), more)
        self._loss_sum = self._steps = 0.0
        self.restart_clock()

    def record_evaluation(self, position: Mapping[str, float], split: str, evaluation: Evaluation) -> None:
        """Tell what was measured on a split."""
        part = {"characters_in_split": evaluation.of} if evaluation.of is not None else {}
        self._record(position, split, evaluation.loss, {"characters": evaluation.characters, **part})

    def restart_clock(self) -> None:
        """Measure the speed from here on; what lies between, an evaluation say, does not count."""
        self._characters, self._since = 0, self._clock()

    @property
    def steps(self) -> float:
        """Steps since the last training record, each by its share."""
        return self._steps

    def state_dict(self) -> dict[str, Any]:
        """Return the unfinished average, as JSON values."""
        return {"interval": [self._loss_sum, self._steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._loss_sum, self._steps = map(float, state["interval"])

    def _record(self, position: Mapping[str, float], split: str, loss: float, more: Mapping[str, float]) -> None:
        losses = {"loss": loss, "bits_per_character": loss / math.log(2), "perplexity": perplexity(loss)}
        self.tell("on_record", {"step": position["step"], "split": split, **losses, **position, **more})
