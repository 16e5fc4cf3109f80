"""Progress of a run on standard error: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from char_rnn.training.callbacks import Callback, Record
from char_rnn.utils.terminal import visible

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer

SMOOTHING = 0.98
LONGEST_BAR = 24
BEST = Text("best", "green")
EVENTS = {
    "device": "step {failed_step:,}: {reason}; returned to step {step:,}, continuing on the CPU",
    "evaluation": "each evaluation predicts {characters:,} of {of:,} characters: all of them would take too long",
    "memory": "out of memory: computing {micro_batch:,} sequences at a time from now on; the batches stay the same",
    "rollback": (
        "step {failed_step:,}: {reason}; returned to step {step:,}, learning rate multiplied by {rate_factor:g}"
    ),
}
"""Texts by the kind of event."""


def training_progress(console: Console | None = None) -> Callback:
    """Return the display for standard error: a live bar if the terminal can move its cursor, else lines."""
    console = console or Console(stderr=True)
    live = console.is_terminal and not (console.is_dumb_terminal or console.legacy_windows)
    return BarProgress(console) if live else LineProgress(console)


class LineProgress(Callback):
    """A line for every record, and the samples; for logs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._best = math.inf
        self._total = ""
        self._unit = "character"

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Store the best loss so far, to mark the next one, and the unit of the vocabulary."""
        self._best = trainer.checkpoints.best_loss
        if trainer.checkpoints.vocabulary is not None:
            self._unit = trainer.checkpoints.vocabulary.unit

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Store the last step of the run; ``~`` marks an estimate."""
        settled = trainer.plan.settled or trainer.step >= trainer.total_steps
        self._total = f"{'' if settled else '~'}{trainer.total_steps:,}"

    def on_record(self, record: Record) -> None:
        """Print the record in one line."""
        self._print(self._line(record))

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Print the event."""
        self._print(Text(visible(EVENTS[event["event"]].format(**event)), style="yellow"))

    def on_sample(self, step: int, text: str) -> None:
        """Print the sample, indented."""
        self._print(Text("\n".join(f"    {line}" for line in self._lines(visible(text))), style="dim"))

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True, highlight=False)

    def _lines(self, text: str) -> list[str]:
        return text.splitlines()

    def _line(self, record: Record) -> Text:
        bits = f"{record['loss']:.4f} nats ({record['bits_per_character']:.4f} bits) per {self._unit}"
        parts = [f"{self._step(record)}  epoch {record['epoch']:.2f}", f"{record['split']} {bits}"]
        if record["split"] == "train":
            parts += [f"{record['characters_per_second']:,.0f} {self._unit}s/s", _memory(record)]
        else:
            parts.append(f"perplexity {record['perplexity']:.3f}")
        best = "best" if self._is_best(record) else ""
        return Text("  ".join(filter(None, [*parts, _part(record), best])))

    def _step(self, record: Record) -> str:
        return f"step {record['step']:,}" + (f"/{self._total}" if self._total else "")

    def _is_best(self, record: Record) -> bool:
        """Return whether a validation loss is a new best, and store it."""
        best: bool = record["split"] == "val" and record["loss"] < self._best
        if best:
            self._best = record["loss"]
        return best


class BarProgress(LineProgress):
    """One live line: share done, time left, loss, speed, and whatever else fits; evaluations and samples go above it.

    The line is narrower than the terminal. If a resize breaks it into several rows, all of them are erased.
    """

    redraw_seconds = 0.1  # least time between two drawings of the line

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Text("starting")
        self._cells = 0
        self._loss = math.nan
        self._drawn = 0.0
        self._mark: tuple[float, int] | None = None
        self._pace = math.nan  # steps a second
        self._memory = ""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Show the line."""
        super().on_start(trainer)
        self._draw()

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Redraw, if that is due."""
        super().on_step(trainer, loss)
        self._loss = loss if math.isnan(self._loss) else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        if self._is_due():
            self._measure_pace(trainer)
            self._redraw(self._fields(trainer))

    def on_evaluating(self, split: str, done: int, total: int) -> None:
        """Show the progress of an evaluation, if that is due."""
        if self._is_due():
            share = Text.assemble(f"{100 * done // total:>3.0f}% ", *self._bar_of(done / total))
            self._redraw((share, f"evaluating {split}", f"{done:,} of {total:,} {self._unit}s"))

    def on_record(self, record: Record) -> None:
        """Print evaluations; the live line shows the training loss and the memory."""
        if record["split"] != "train":
            super().on_record(record)
        else:
            self._memory = _memory(record)

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Erase the line."""
        self._erase()

    def _print(self, text: Text) -> None:
        """Print above the live line, wrapped at words."""
        self._erase()
        self.console.print(text, highlight=False)
        self._draw()

    def _lines(self, text: str) -> list[str]:
        """Return the lines of an indented text, wrapped at words."""
        width = max(1, self.console.width - 5)
        return [part.plain for line in text.splitlines() for part in Text(line).wrap(self.console, width)]

    def _line(self, record: Record) -> Text:
        return _join_fields(self._evaluation(record), self.console.width - 1)

    def _evaluation(self, record: Record) -> Iterator[Text | str]:
        """Yield the fields of an evaluation, the most important first."""
        yield self._step(record)
        yield Text.assemble((record["split"], "bold"), f" {record['loss']:.4f} nats")
        if self._is_best(record):
            yield BEST
        if part := _part(record):
            yield part
        yield f"{record['bits_per_character']:.4f} bits per {self._unit}"
        yield f"perplexity {record['perplexity']:.3f}"
        yield f"epoch {record['epoch']:.2f}"

    def _is_due(self) -> bool:
        """Return whether to redraw now, and store the time if so."""
        now = time.perf_counter()
        due = now - self._drawn >= self.redraw_seconds
        if due:
            self._drawn = now
        return due

    def _redraw(self, fields: Iterable[Text | str]) -> None:
        self._bar = _join_fields(fields, self.console.width - 1)
        self._draw()

    def _draw(self) -> None:
        self._erase()
        self.console.print(self._bar, end="", soft_wrap=True, highlight=False)
        self._cells = self._bar.cell_len

    def _erase(self) -> None:
        row: list[ControlType | tuple[ControlType, int]] = [ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)]
        broken = max(0, self._cells - 1) // self.console.width if "XTERM_VERSION" not in os.environ else 0
        self.console.control(Control(*row, *broken * [(ControlType.CURSOR_UP, 1), *row]))  # xterm cuts lines off
        self._cells = 0

    def _measure_pace(self, trainer: CharRNNTrainer) -> None:
        now = self._drawn
        if self._mark is not None and now > self._mark[0]:
            pace = (trainer.step - self._mark[1]) / (now - self._mark[0])
            self._pace = pace if math.isnan(self._pace) else 0.95 * self._pace + 0.05 * pace
        self._mark = (now, trainer.step)

    def _fields(self, trainer: CharRNNTrainer) -> Iterator[Text | str]:
        """Yield the fields of the live line, the most important first."""
        train = trainer.dataloaders["train"]
        share, left = _share_and_seconds_left(trainer, self._pace)
        yield Text.assemble(f"{100 * share:>3.0f}% ", *self._bar_of(share))
        if left is not None:
            yield f"{_clock(left)} left"
        yield f"loss {self._loss:.3f}"
        if not math.isnan(self._pace):
            yield f"{self._pace * train.batch_size * train.seq_length:,.0f} {self._unit[:4]}/s"
        yield f"step {trainer.step:,}/{self._total}"
        yield f"epoch {trainer.epoch + trainer.batch / len(train):.2f}"
        yield f"{self._loss / math.log(2):.3f} bits"
        if self._memory:
            yield self._memory

    def _bar_of(self, share: float) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return the two parts of the bar with their styles."""
        done, rest = "━─" if "utf" in self.console.encoding else "#-"
        width = min(LONGEST_BAR, self.console.width // 5)
        full = round(share * width)
        return (done * full, "green"), (rest * (width - full), "dim")


def _join_fields(fields: Iterable[Text | str], width: int) -> Text:
    """Join fields by two spaces, up to the first that does not fit into the width."""
    line = Text()
    for field in fields:
        longer = Text.assemble(line, "  " if line else "", field)
        if longer.cell_len > width:
            break
        line = longer
    return line


def _share_and_seconds_left(trainer: CharRNNTrainer, pace: float) -> tuple[float, float | None]:
    """Return the share done and the seconds left, by the clock in a timed run, else by steps."""
    minutes, total = trainer.config.training.minutes, trainer.total_steps
    if minutes is not None:
        return min(1.0, trainer.seconds / (60 * minutes)), max(0.0, 60 * minutes - trainer.seconds)
    left = (total - trainer.step) / pace if pace > 0 else None
    return min(1.0, trainer.step / total) if total else 0.0, left


def _memory(record: Record) -> str:
    """Return the memory in use: a GPU's if there is one, else the process's."""
    bytes_in_use = record.get("memory_reserved", record["memory_rss"])
    return f"{bytes_in_use / 1e9:.1f} GB" if bytes_in_use >= 1e9 else f"{bytes_in_use / 1e6:.0f} MB"


def _part(record: Record) -> str:
    """Return how much of a split was predicted, if not all of it."""
    whole = record.get("characters_in_split")
    return "" if whole is None else f"over {record['characters']:,} of {whole:,}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
