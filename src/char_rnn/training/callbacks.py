"""What a trainer tells the outside world, and the two listeners that write it down.

A record is a flat dict: ``step``, ``epoch`` (fractional), ``split`` (train, val or test), ``loss`` in nats per
character, ``bits_per_character``, and for training records ``learning_rate``, ``gradient_norm`` (before clipping),
``characters_per_second``, ``seconds``, and the memory in use in bytes: ``memory_rss`` (the process), on a GPU
``memory_allocated`` and ``memory_reserved``.

An event is a flat dict too: ``step``, at which the run goes on, and ``event``: ``rollback`` (the loss exploded),
``device`` (the device failed and was left), both with ``failed_step`` and ``reason``; ``memory`` (it ran out; with
``micro_batch``, the sequences now computed at once).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from char_rnn.data.corpus import SPLITS
from char_rnn.runs import METRICS, TENSORBOARD
from char_rnn.training.metrics import MEMORY, MetricsFile
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer
    from char_rnn.utils.config import LoggingConfig

Record = Mapping[str, Any]

_logger = logging.getLogger("char_rnn")


class Callback:
    """Listens to a trainer. Every method may be overridden; none has to be."""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Training begins, or goes on at ``trainer.step``."""

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """A step is finished; ``loss`` in nats per character. Called often: be quick."""

    def on_record(self, record: Record) -> None:
        """A measurement: of training each ``log_interval`` steps, of ``val`` at evaluations, of ``test`` at the end."""

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Something out of the ordinary; where it has a ``failed_step``, what followed ``step`` will come again."""

    def on_save(self, trainer: CharRNNTrainer) -> None:
        """A checkpoint is about to be written; what belongs to it has to be on the disk before it."""

    def on_evaluating(self, split: str, done: int, total: int) -> None:
        """``done`` of the ``total`` characters to predict in a split are predicted. Called often: be quick."""

    def on_sample(self, step: int, text: str) -> None:
        """The model was asked for a sample."""

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Training is over, whatever the reason."""


class MetricsWriter(Callback):
    """Writes every record to ``metrics.jsonl``."""

    def __init__(self, path: Path) -> None:
        self.file = MetricsFile(path)

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Cut off what a resumed run will record again (a finished one only evaluates); add what it did not come to."""
        self.file.cut_back(trainer.step, ("train",) if not trainer.should_continue else SPLITS)
        if trainer.event is not None and trainer.event not in self.file.read():
            self.file.append(trainer.event)

    def on_record(self, record: Record) -> None:
        """Append the record."""
        self.file.append(record)

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Append the event, after what will be recorded again is cut off."""
        if "failed_step" in event:
            self.file.cut_back(trainer.step, SPLITS)
        self.file.append(event)

    def on_save(self, trainer: CharRNNTrainer) -> None:
        """Flush the records to the disk: after a power cut the state must not be ahead of them."""
        self.file.sync()


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
        """Write each number of the record as a scalar, all in one event."""
        from torch.utils.tensorboard import summary

        step, split = record["step"], record["split"]
        tags = {name: f"{name}/{split}" for name in ("loss", "bits_per_character", "perplexity")}
        tags |= {name: f"training/{name}" for name in ("learning_rate", "gradient_norm", "characters_per_second")}
        tags |= {name: f"memory/{name.removeprefix(MEMORY)}" for name in record if name.startswith(MEMORY)}
        scalar: Any = summary.scalar
        scalars = [scalar(tag, record[name]) for name, tag in tags.items() if name in record]
        for other in scalars[1:]:
            scalars[0].MergeFrom(other)
        file_writer: Any = self._writer.file_writer
        file_writer.add_summary(scalars[0], step)

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
    """Return the listeners that write a run folder's files; none without a folder.

    Args:
        run_dir: the run's folder.
        log_dir: the folder of the TensorBoard events; ``run_dir/tensorboard`` when not given.
        settings: the configuration's section ``logging``; ``tensorboard: false`` leaves the events out.
    """
    if run_dir is None:
        return []
    listeners: list[Callback] = [MetricsWriter(run_dir / METRICS)]
    if settings.tensorboard:
        folder = Path(log_dir) if log_dir else run_dir / TENSORBOARD
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            _logger.warning("%s: not UTF-8, which TensorBoard needs; no events are written", visible_name(str(folder)))
        else:
            listeners.append(TensorBoardWriter(folder))
    return listeners
