"""Callbacks of a trainer, those that write the files of a run, and the logger that makes the records.

A record is a flat dict: ``step``, ``epoch`` (fractional), ``split`` (train, val or test), ``loss`` in nats per
character, ``bits_per_character``, and in training records ``learning_rate``, ``gradient_norm`` (before clipping),
``characters_per_second``, ``seconds``, and the memory in use in bytes: ``memory_rss`` (the process), on a GPU
``memory_allocated`` and ``memory_reserved``.

An event is a flat dict too: ``step``, at which the run continues, and ``event``: ``rollback`` (the loss exploded),
``device`` (the device failed and the CPU replaces it), both with ``failed_step`` and ``reason``; or ``memory`` (out of
memory; with ``micro_batch``, the sequences computed at once from now on).
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from char_rnn.data.corpus import SPLITS
from char_rnn.runs import METRICS, SAMPLES, TENSORBOARD
from char_rnn.runs.history import read_lines
from char_rnn.training.evaluation import Evaluation, perplexity
from char_rnn.utils.files import check_regular, replacing
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer
    from char_rnn.utils.config import LoggingConfig

Record = Mapping[str, Any]

MEMORY = "memory_"

_logger = logging.getLogger("char_rnn")


class Callback:
    """Base of callbacks: override any of the methods."""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Training starts, or continues at ``trainer.step``."""

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """A step is finished; ``loss`` in nats per character. Called often: be quick."""

    def on_record(self, record: Record) -> None:
        """A measurement: ``train`` every ``log_interval`` steps, ``val`` at evaluations, ``test`` at the end."""

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """An unusual event; after one with a ``failed_step``, the steps after ``step`` are repeated."""

    def on_save(self, trainer: CharRNNTrainer) -> None:
        """A checkpoint is about to be written; whatever belongs to it must be on the disk first."""

    def on_evaluating(self, split: str, done: int, total: int) -> None:
        """``done`` of ``total`` characters of a split have been predicted. Called often: be quick."""

    def on_checkpoint(self, path: Path) -> None:
        """A model file named as in 2015 is about to be written, by the trainer ``torch7``."""

    def on_sample(self, step: int, text: str) -> None:
        """The model has written a sample."""

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Training has ended, for any reason."""


class RecordsFile:
    """A file of records: one JSON object per line, in the order of the steps, in full precision."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, record: Record) -> None:
        """Append a record; it is in the file when this returns.

        Raises:
            OSError: it cannot be written, or the disk is full.
        """
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}  # JSON
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(finite, allow_nan=False) + "\n")
        except OSError as error:  # an error of closing the file lacks its name
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def read(self) -> list[dict[str, Any]]:
        """Return all complete records; other lines are skipped."""
        return [record for _, record in self._lines() if record is not None]

    def keep(self, stays: Callable[[Record], bool]) -> None:
        """Remove all other records, and lines that are not records, with a warning if a crash cannot explain them."""
        lines = self._lines()
        if damaged := sum(record is None for _, record in lines[:-1]):
            _logger.warning("%s: damaged; skipped %d lines that are not records", self.path, damaged)
        with replacing(self.path) as temporary:
            temporary.write_bytes(b"".join(line.rstrip() + b"\n" for line, record in lines if record and stays(record)))

    def _lines(self) -> list[tuple[bytes, dict[str, Any] | None]]:
        return list(read_lines(self.path)) if self.path.exists() else []


class MetricsWriter(RecordsFile, Callback):
    """Writes ``metrics.jsonl``."""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Remove what a resumed run records again (a finished one only evaluates); add an event not recorded yet."""
        self.cut_back(trainer.step, SPLITS if trainer.should_continue else ("train",))
        if trainer.event is not None and trainer.event not in self.read():
            self.on_record(trainer.event)

    def on_record(self, record: Record) -> None:
        """Append the record."""
        self.append(record)

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Append the event, after removing what will be recorded again."""
        if "failed_step" in event:
            self.cut_back(trainer.step, SPLITS)
        self.on_record(event)

    def on_save(self, trainer: CharRNNTrainer) -> None:
        """Flush the records to the disk: after a power failure the state must not be ahead of them."""
        with suppress(FileNotFoundError):
            check_regular(self.path)
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())

    def cut_back(self, step: int, splits: Collection[str]) -> None:
        """Remove what a run resumed at ``step`` records again: all after it; at it, all but ``splits`` and events."""

        def stays(record: Record) -> bool:
            return record["step"] < step or (
                record["step"] == step and ("event" in record or record.get("split") in splits)
            )

        self.keep(stays)


class SamplesWriter(RecordsFile, Callback):
    """Writes ``samples.jsonl``: the ``step`` and the ``text`` of each sample."""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Remove the samples after the step of a resumed run."""
        if self.path.exists():
            self.keep(lambda record: bool(record["step"] <= trainer.step))

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Remove the samples of steps that are repeated."""
        if "failed_step" in event:
            self.on_start(trainer)

    def on_sample(self, step: int, text: str) -> None:
        """Append the sample."""
        self.append({"step": step, "text": text})


def scalars(record: Record) -> dict[str, float]:
    """Return the numbers of a record that are plotted, by the tag that groups them: ``loss/train``, ..."""
    tags = {name: f"{name}/{record['split']}" for name in ("loss", "bits_per_character", "perplexity")}
    tags |= {name: f"training/{name}" for name in ("learning_rate", "gradient_norm", "characters_per_second")}
    tags |= {name: f"memory/{name.removeprefix(MEMORY)}" for name in record if name.startswith(MEMORY)}
    return {tag: record[name] for name, tag in tags.items() if record.get(name) is not None}


class TensorBoardWriter(Callback):
    """Writes the same numbers, and the samples, as TensorBoard events (loss, perplexity, rate, norm, speed)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Open the event file; a resumed run replaces the events after its checkpoint."""
        self._open(trainer.step)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)

    def on_record(self, record: Record) -> None:
        """Write each number of the record as a scalar."""
        for tag, value in scalars(record).items():
            self._writer.add_scalar(tag, value, record["step"])

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Replace what will be recorded again."""
        if "failed_step" in event:
            self._writer.close()
            self._open(trainer.step)

    def on_sample(self, step: int, text: str) -> None:
        """Write the sample as preformatted text."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        self._writer.add_text("sample", indented, step)

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Close the event file."""
        self._writer.close()


def writers(run_dir: Path | None, log_dir: str | Path | None, settings: LoggingConfig) -> list[Callback]:
    """Return the callbacks that write the files of a run folder; none without a folder.

    The TensorBoard events are in ``log_dir`` (default: ``run_dir/tensorboard``).
    """
    if run_dir is None:
        return []
    found: list[Callback] = [MetricsWriter(run_dir / METRICS), SamplesWriter(run_dir / SAMPLES)]
    if settings.tensorboard:
        folder = Path(log_dir) if log_dir else run_dir / TENSORBOARD
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            _logger.warning("%s: not UTF-8, which TensorBoard needs; no events are written", visible_name(str(folder)))
        else:
            found.append(TensorBoardWriter(folder))
    return found


class MetricsLogger:
    """Averages the steps since the last training record, makes the records, and notifies the callbacks."""

    def __init__(self, callbacks: Sequence[Callback], clock: Callable[[], float]) -> None:
        self.callbacks, self._clock = list(callbacks), clock
        self._loss_sum = self.steps = 0.0
        self._characters, self._since = 0, clock()

    def tell(self, event: str, *args: Any) -> None:
        """Call the method ``event`` of every callback."""
        for callback in self.callbacks:
            getattr(callback, event)(*args)

    def add_step(self, loss: float, characters: int) -> None:
        """Count a training step: its mean loss in nats per character, and its characters."""
        self._loss_sum, self.steps = self._loss_sum + loss, self.steps + 1
        self._characters += characters

    def record_training(
        self, position: Mapping[str, float], learning_rate: float, gradient_norm: float, memory: Mapping[str, int]
    ) -> None:
        """Record the mean loss since the last training record, the speed since the clock was restarted, and memory."""
        elapsed = self._clock() - self._since
        more = {
            "learning_rate": learning_rate,
            "gradient_norm": gradient_norm,
            "characters_per_second": self._characters / elapsed if elapsed > 0 else 0.0,
            **{MEMORY + name: size for name, size in memory.items()},
        }
        self._record(position, "train", self._loss_sum / (self.steps or 1), more)
        self._loss_sum = self.steps = 0.0
        self.restart_clock()

    def record_evaluation(self, position: Mapping[str, float], split: str, evaluation: Evaluation) -> None:
        """Record an evaluation of a split."""
        part = {"characters_in_split": evaluation.of} if evaluation.of is not None else {}
        self._record(position, split, evaluation.loss, {"characters": evaluation.characters, **part})

    def restart_clock(self) -> None:
        """Measure the speed from now on; the time since the last step (an evaluation, say) does not count."""
        self._characters, self._since = 0, self._clock()

    def state_dict(self) -> dict[str, Any]:
        """Return the unfinished average, as JSON values."""
        return {"interval": [self._loss_sum, self.steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._loss_sum, self.steps = state["interval"]

    def _record(self, position: Mapping[str, float], split: str, loss: float, more: Mapping[str, float]) -> None:
        losses = {"loss": loss, "bits_per_character": loss / math.log(2), "perplexity": perplexity(loss)}
        self.tell("on_record", {"step": position["step"], "split": split, **losses, **position, **more})
