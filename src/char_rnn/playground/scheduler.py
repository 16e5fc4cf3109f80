"""Continuous batching: one thread for each model steps all of its texts together.

A job joins between two steps, and leaves its row when it ends or is cancelled. Each step advances each job by one
symbol, whether it writes or reads a long prime: none waits for another. A job's text does not depend on the other jobs,
because the engine computes each stream alone.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable

import numpy as np

from char_rnn.generation.engine import Engine, Streams
from char_rnn.generation.network import Array
from char_rnn.playground.messages import ApiError

CLOSING = "the server is shutting down"
DIVERGED = "the model predicts NaN; has the model's training diverged?"
MISTAKE = "{} (a mistake in char-rnn; the server's standard error shows where)"

_logger = logging.getLogger("char_rnn")


class TextJob(ABC):
    """A text that is read or written in one row of a scheduler, whose thread calls the methods.

    Attributes:
        symbol: Symbol that the model reads next.
        wants_state: Whether `take` needs the state.
        ended: Whether the job is done.
        cancelled: Whether nobody wants the text any more; set by any thread.
    """

    symbol: int
    wants_state = False
    ended = False
    cancelled = False

    @property
    def active(self) -> bool:
        """Whether the job needs its row."""
        return not (self.ended or self.cancelled)

    @property
    def paused(self) -> bool:
        """Whether the job waits for its client."""
        return False

    @abstractmethod
    def take(self, log_probs: Array, state: Array | None) -> None:
        """Use the predictions (V,) after `symbol` and, if wanted, h (L, H); set the next `symbol` or `ended`."""

    @abstractmethod
    def fail(self, message: str) -> None:
        """Report to the client that the job ends with an error."""


class Scheduler:
    """The rows of one model.

    Attributes:
        symbols: Symbols read, of all texts.
        seconds: Seconds of computing.
    """

    def __init__(self, engine: Engine, rows: int, name: str = "model") -> None:
        self.capacity, self.name = rows, name
        self.symbols, self.seconds = 0, 0.0
        self._streams: Streams = engine.begin(rows)
        self._rows: list[TextJob | None] = [None] * rows
        self._waiting: deque[TextJob] = deque()
        self._condition = threading.Condition()
        self._closing, self._reason = False, CLOSING
        self._thread = threading.Thread(target=self._run, name=f"char-rnn {name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, reason: str = CLOSING) -> None:
        """End all jobs with this error, and the thread after the present step."""
        self._reason = reason
        self._closing = True
        self.wake()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout)

    def add(self, *jobs: TextJob) -> None:
        """Add jobs that have not ended, all or none.

        Raises:
            ApiError: Too many rows are in use, or the scheduler is closed.
        """
        with self._condition:
            if self._closing:
                raise ApiError(503, self._reason)
            present = _count((*self._rows, *self._waiting))
            if present + len(jobs) > self.capacity:
                more = f", and {len(jobs)} more do not fit" if len(jobs) > 1 else ""
                reason = f"{present} texts are being written or read already{more}; try again soon"
                raise ApiError(429, f"model {self.name}: {reason}", headers={"retry-after": "1"})
            self._waiting.extend(jobs)
            self._condition.notify()

    def cancel(self, job: TextJob) -> None:
        """Free the row of a job at the next step; from any thread."""
        job.cancelled = True
        self.wake()

    def wake(self) -> None:
        """Check the jobs again: one is cancelled, or no longer paused."""
        with self._condition:
            self._condition.notify()

    @property
    def active(self) -> int:
        """Rows in use."""
        return _count(tuple(self._rows))

    @property
    def waiting(self) -> int:
        """Jobs that join at the next step."""
        return _count(tuple(self._waiting))

    def _run(self) -> None:
        try:
            while ready := self._ready():
                began = time.perf_counter()
                self._step(ready)
                self.seconds += time.perf_counter() - began
                self.symbols += len(ready)
        finally:
            with self._condition:
                self._closing = True
                left = [job for job in (*self._rows, *self._waiting) if job and job.active]
                self._waiting.clear()
                self._rows = [None] * len(self._rows)
            for job in left:
                job.fail(self._reason)

    def _ready(self) -> list[tuple[int, TextJob]]:
        """Wait until a job can go on, and return all that can, by row; none when the scheduler is closed."""
        with self._condition:
            while not self._closing:
                self._fill_rows()
                if ready := [(row, job) for row, job in enumerate(self._rows) if job and not job.paused]:
                    return ready
                self._condition.wait()
            return []

    def _fill_rows(self) -> None:
        for row, job in enumerate(self._rows):
            if job and not job.active:
                self._rows[row] = None
            while self._rows[row] is None and self._waiting:
                joining = self._waiting.popleft()
                if joining.active:
                    self._streams.reset(row)
                    self._rows[row] = joining

    def _step(self, ready: list[tuple[int, TextJob]]) -> None:
        try:
            predictions = self._streams.step([job.symbol for _, job in ready], [row for row, _ in ready])
        except Exception as error:
            for _, job in ready:
                self._fail(job, error)
            return
        diverged = np.isnan(predictions.sum(axis=1)).tolist()
        for (row, job), log_probs, is_nan in zip(ready, predictions, diverged, strict=True):
            try:
                if is_nan:
                    raise ValueError(DIVERGED)  # noqa: TRY301
                job.take(log_probs, self._streams.hidden(row) if job.wants_state else None)
            except Exception as error:
                self._fail(job, error)

    def _fail(self, job: TextJob, error: Exception) -> None:
        job.ended = True
        if isinstance(error, ValueError):
            job.fail(str(error))
        else:
            _logger.error("%s", self._thread.name, exc_info=error)
            job.fail(MISTAKE.format(type(error).__name__))


def _count(jobs: Iterable[TextJob | None]) -> int:
    return sum(job is not None and job.active for job in jobs)
