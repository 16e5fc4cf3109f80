"""One model and a thread of its own that steps all texts it is asked for together (continuous batching).

A text joins between two steps and leaves its row when it ends or nobody wants it any more. Every step takes each text
on by one symbol, a long prime like any other: none waits for another. What a text becomes does not depend on the
others, as the engine computes each stream alone.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque

import numpy as np

from char_rnn.generation.engine import Engine, Streams
from char_rnn.generation.network import Array

CLOSING = "the server is shutting down"
DIVERGED = "the model predicts NaN; has the model's training diverged?"

_logger = logging.getLogger("char_rnn")


class Reading(ABC):
    """A text that is read, or written, in one row of a batch. The batch's thread calls all but `cancel`.

    Attributes:
        symbol: What the model reads next.
        wants_state: Whether `take` is to be given the state.
        own: Whether it is the server's own, not of a request.
        ended: Whether it is done; the row is then free.
        cancelled: Whether nobody wants it any more; set from any thread.
    """

    symbol: int
    wants_state = False
    own = False
    ended = False
    cancelled = False

    @property
    def paused(self) -> bool:
        """Whether it has to wait until what it made is taken."""
        return False

    @abstractmethod
    def take(self, log_probs: Array, state: Array | None) -> None:
        """Note what the model makes of `symbol`: predictions (V,) and, if wanted, h (L, H); set the next or `ended`."""

    @abstractmethod
    def fail(self, message: str) -> None:
        """Tell whoever waits that it ends here."""

    def cancel(self) -> None:
        """Give it up; the row is freed at the next step."""
        self.cancelled = True


class FullError(Exception):
    """All rows are taken."""


class ClosedError(Exception):
    """The batch takes nothing any more."""


class Batch:
    """The rows of one model.

    Args:
        engine: What computes.
        rows: How many texts at once. One more is kept for the server's own.
        name: The model's.

    Attributes:
        symbols: How many have been read, of all texts.
        seconds: Time in steps.
    """

    def __init__(self, engine: Engine, rows: int, name: str = "model") -> None:
        self.capacity = rows
        self.symbols = 0
        self.seconds = 0.0
        self._streams: Streams = engine.begin(rows + 1)
        self._rows: list[Reading | None] = [None] * (rows + 1)
        self._waiting: deque[Reading] = deque()
        self._condition = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"char-rnn {name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End all texts, and the thread after the present step."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout)

    def add(self, reading: Reading, *, own: bool = False) -> None:
        """Let a text join.

        Args:
            reading: Not ended.
            own: Whether it is the server's own, of which there may be one, beside the rows.

        Raises:
            FullError: All rows are taken.
            ClosedError: The batch has been closed.
        """
        with self._condition:
            if self._closing:
                raise ClosedError(CLOSING)
            reading.own = own
            present = [each for each in (*self._rows, *self._waiting) if each is not None and each.own == own]
            if sum(map(_is_wanted, present)) >= (1 if own else self.capacity):
                raise FullError(f"{self.capacity} texts are being written or read already")
            self._waiting.append(reading)
            self._condition.notify()

    def wake(self) -> None:
        """Look again: a text has been given up, or need not wait any longer."""
        with self._condition:
            self._condition.notify()

    @property
    def active(self) -> int:
        """Rows in use."""
        return sum(map(_is_wanted, filter(None, tuple(self._rows))))

    @property
    def waiting(self) -> int:
        """Texts that join at the next step."""
        return sum(map(_is_wanted, tuple(self._waiting)))

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
                left = [each for each in (*self._rows, *self._waiting) if each is not None and _is_wanted(each)]
                self._waiting.clear()
                self._rows = [None] * len(self._rows)
            for reading in left:
                reading.fail(CLOSING)

    def _ready(self) -> list[tuple[int, Reading]]:
        """Wait until there is something to do, and return it by row; nothing when the batch is closed."""
        with self._condition:
            while not self._closing:
                self._seat()
                if ready := [
                    (row, reading) for row, reading in enumerate(self._rows) if reading and not reading.paused
                ]:
                    return ready
                self._condition.wait()
            return []

    def _seat(self) -> None:
        for row, reading in enumerate(self._rows):
            if reading is not None and not _is_wanted(reading):
                self._rows[row] = None
            while self._rows[row] is None and self._waiting:
                joining = self._waiting.popleft()
                if _is_wanted(joining):
                    self._streams.reset(row)
                    self._rows[row] = joining

    def _step(self, ready: list[tuple[int, Reading]]) -> None:
        rows = [row for row, _ in ready]
        try:
            predictions = self._streams.step([reading.symbol for _, reading in ready], rows)
        except Exception as error:
            for _, reading in ready:
                self._fail(reading, error)
            return
        broken = np.isnan(predictions.sum(axis=1)).tolist()
        for (row, reading), log_probs, is_broken in zip(ready, predictions, broken, strict=True):
            if is_broken:
                self._fail(reading, ValueError(DIVERGED))
                continue
            try:
                reading.take(log_probs, self._streams.hidden(row) if reading.wants_state else None)
            except Exception as error:
                self._fail(reading, error)

    def _fail(self, reading: Reading, error: Exception) -> None:
        reading.ended = True
        if isinstance(error, ValueError):
            reading.fail(str(error))
        else:
            _logger.error("%s", self._thread.name, exc_info=error)
            reading.fail(f"{type(error).__name__} (a mistake in char-rnn; the server's standard error shows where)")


def _is_wanted(reading: Reading) -> bool:
    return not (reading.ended or reading.cancelled)
