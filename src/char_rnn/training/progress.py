"""Shows a run as it goes: a bar in a terminal, plain lines elsewhere. Everything goes to standard error."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from char_rnn.training.callbacks import Callback, Record
from char_rnn.utils.terminal import visible

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer

REDRAW_SECONDS = 0.1
SMOOTHING = 0.98


def training_progress(console: Console | None = None) -> Callback:
    """Return the display that fits standard error: a live bar on a terminal, else lines."""
    console = console or Console(stderr=True)
    return BarProgress(console) if console.is_terminal else LineProgress(console)


class LineProgress(Callback):
    """A line for every record, and the samples; for logs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._best = math.inf
        self._total = 0
        self._unit = "character"

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Remember the best loss so far, to mark the next one, and what the model predicts."""
        self._best = trainer.keeper.best_loss
        if trainer.keeper.vocabulary is not None:
            self._unit = trainer.keeper.vocabulary.unit

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Remember where the run ends, for the lines."""
        self._total = trainer.total_steps

    def on_record(self, record: Record) -> None:
        """Print the record in one line."""
        self.console.print(self._line(record), soft_wrap=True, highlight=False)

    def on_event(self, trainer: CharRNNTrainer, event: Record) -> None:
        """Print what happened and how it goes on."""
        self.console.print(Text(visible(_in_words(event)), style="yellow"), soft_wrap=True)

    def on_sample(self, step: int, text: str) -> None:
        """Print the sample, set apart."""
        self.console.print(Text(_indented(visible(text)), style="dim"), soft_wrap=True)

    def _line(self, record: Record) -> str:
        where = f"step {record['step']:,}" + (f"/{self._total:,}" if self._total else "")
        bits = f"{record['loss']:.4f} nats ({record['bits_per_character']:.4f} bits) per {self._unit}"
        parts = [f"{where}  epoch {record['epoch']:.2f}", f"[bold]{record['split']}[/] {bits}"]
        if record["split"] == "train":
            parts.append(f"{record['characters_per_second']:,.0f} {self._unit}s/s")
            parts.append(_memory(record))
        else:
            parts.append(f"perplexity {record['perplexity']:.3f}")
        if record["split"] == "val" and record["loss"] < self._best:
            self._best = record["loss"]
            parts.append("[green]best[/]")
        return "  ".join(parts)


class BarProgress(LineProgress):
    """One live line (step, epoch, loss, bits, speed, time left); evaluations and samples scroll by above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[status]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._loss = math.nan
        self._drawn = 0.0
        self._mark: tuple[float, int] | None = None
        self._pace = math.nan
        self._memory = ""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Show the bar."""
        super().on_start(trainer)
        self._task = self._bar.add_task("train", total=None, status="starting")
        self._bar.start()

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Redraw, at most ten times a second."""
        super().on_step(trainer, loss)
        self._loss = loss if math.isnan(self._loss) else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        now = time.perf_counter()
        if self._task is None or now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        self._measure(trainer, now)
        done, total = _share_done(trainer)
        self._bar.update(self._task, completed=done, total=total, status=self._status(trainer))

    def on_record(self, record: Record) -> None:
        """Print evaluations; the bar shows the training loss and the memory."""
        if record["split"] != "train":
            super().on_record(record)
        else:
            self._memory = _memory(record)

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Take the bar away."""
        self._bar.stop()

    def _measure(self, trainer: CharRNNTrainer, now: float) -> None:
        """Smooth the pace, in steps a second."""
        if self._mark is not None and now > self._mark[0]:
            pace = (trainer.step - self._mark[1]) / (now - self._mark[0])
            self._pace = pace if math.isnan(self._pace) else 0.95 * self._pace + 0.05 * pace
        self._mark = (now, trainer.step)

    def _status(self, trainer: CharRNNTrainer) -> str:
        train = trainer.dataloaders["train"]
        epoch = trainer.epoch + trainer.batch / len(train)
        speed = self._pace * train.batch_size * train.seq_length
        parts = [
            f"step {trainer.step:,}/{trainer.total_steps:,}",
            f"epoch {epoch:.2f}",
            f"loss {self._loss:.3f} ({self._loss / math.log(2):.3f} bits)",
        ]
        if not math.isnan(speed):
            parts.append(f"{speed:,.0f} {self._unit}s/s")
        if self._memory:
            parts.append(self._memory)
        left = _seconds_left(trainer, self._pace)
        if left is not None:
            parts.append(f"{_clock(left)} left")
        return escape("  ".join(parts))


def _share_done(trainer: CharRNNTrainer) -> tuple[float, float]:
    """Return (done, of how much): seconds in a run of so many minutes, steps else."""
    minutes = trainer.config.training.minutes
    if minutes is not None and trainer.plan.budget is not None:
        return min(trainer.seconds, 60 * minutes), 60 * minutes
    return float(trainer.step), trainer.total_steps


def _seconds_left(trainer: CharRNNTrainer, pace: float) -> float | None:
    minutes = trainer.config.training.minutes
    if minutes is not None and trainer.plan.budget is not None:
        return max(0.0, 60 * minutes - trainer.seconds)
    if math.isnan(pace) or pace <= 0:
        return None
    return (trainer.total_steps - trainer.step) / pace


def _memory(record: Record) -> str:
    """Return the memory in use: a GPU's where there is one, else the process's."""
    bytes_in_use = record.get("memory_reserved", record["memory_rss"])
    return f"{bytes_in_use / 1e9:.1f} GB" if bytes_in_use >= 1e9 else f"{bytes_in_use / 1e6:.0f} MB"


def _in_words(event: Record) -> str:
    """Say what an event means."""
    if event["event"] == "memory":
        return f"memory ran out: {event['micro_batch']} sequences at once from here on, the batch stays the same"
    if event["event"] == "averaging":
        return f"step {event['step']:,}: the validation loss has stalled; the parameters are averaged from here on"
    back = f"step {event['failed_step']:,}: {event['reason']}; back to step {event['step']:,}"
    if event["event"] == "device":
        return f"{back}, and on with the CPU"
    return f"{back}, with the learning rate times {event['rate_factor']:g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
