"""Progress of a run in a Jupyter notebook: two outputs, updated in place, so the saved notebook has the last state."""

from __future__ import annotations

import time
from base64 import b64encode
from contextlib import suppress
from importlib import import_module
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rich.console import Console
from rich.text import Text

from char_rnn.runs.history import History, read_history
from char_rnn.runs.plots import SUFFIXES, loss_figure, style
from char_rnn.training.callbacks import Record
from char_rnn.training.progress import BarProgress
from char_rnn.utils.terminal import visible

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer

EVALUATIONS = 8  # lines that stay above the bar
CURVE_SECONDS = 5.0
CURVE_SHARE = 0.04  # of the time, at most
CURVE_WIDTH = 640  # pixels


class NotebookProgress(BarProgress):
    """The latest evaluations and sample, the live line, and the loss curve of the run folder."""

    redraw_seconds = 0.5

    def __init__(self) -> None:
        super().__init__(Console(file=StringIO(), width=100, force_jupyter=False))
        self._id, self._displayed = uuid4().hex, set[str]()
        self._evaluations: list[str] = []
        self._sample = ""
        self._curve_due = 0.0
        self._draw()  # reading the text takes seconds

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Show the line."""
        self._folder = trainer.run_dir
        super().on_start(trainer)

    def on_record(self, record: Record) -> None:
        """Show evaluations, and draw the curve again if it is due."""
        super().on_record(record)
        if time.perf_counter() >= self._curve_due:
            self._draw_curve()

    def on_sample(self, step: int, text: str) -> None:
        """Show the sample in place of the one before."""
        self._sample = "\n".join(f"    {line}" for line in self._lines(visible(text)))
        self._draw()

    def on_end(self, trainer: CharRNNTrainer) -> None:
        """Replace the line by the steps and the time, and draw the last curve."""
        is_finished = trainer.step >= trainer.total_steps or trainer.plan.out_of_patience
        ended = "finished" if is_finished else "stopped"
        self._bar = Text(f"{ended} after {trainer.step:,} steps, {trainer.seconds / 60:.1f} minutes")
        self._draw()
        self._draw_curve()

    def _print(self, text: Text) -> None:
        self._evaluations = [*self._evaluations, text.plain][-EVALUATIONS:]
        self._draw()

    def _draw(self) -> None:
        parts = [*self._evaluations, self._sample, self._bar.plain]
        self._show("progress", {"text/plain": "\n".join(filter(None, parts))})

    def _draw_curve(self) -> None:
        began = time.perf_counter()
        with suppress(OSError, ValueError):  # nothing has been measured yet
            if self._folder is not None:
                data = {"image/png": loss_curve(read_history(self._folder)), "text/plain": "losses"}
                self._show("curve", data, {"image/png": {"width": CURVE_WIDTH}})
        now = time.perf_counter()
        self._curve_due = now + max(CURVE_SECONDS, (now - began) / CURVE_SHARE)

    def _show(self, name: str, data: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
        """Display an output, or update it."""
        display = import_module("IPython.display").display
        display(data, metadata=metadata, raw=True, display_id=f"{name}-{self._id}", update=name in self._displayed)
        self._displayed.add(name)


def loss_curve(history: History) -> str:
    """Return the plot of a run's losses as a PNG file in base64, to be shown `CURVE_WIDTH` wide.

    Raises:
        ValueError: No loss has been measured yet.
    """
    figure, file = loss_figure([history]), BytesIO()
    with style():
        figure.savefig(file, format="png", dpi=100, metadata=SUFFIXES[".png"])
    return b64encode(file.getvalue()).decode()
