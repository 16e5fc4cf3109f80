"""Where the time of a run goes, over all the parts of a resumed one."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Counts the seconds of a run.

    Args:
        clock: seconds, as ``time.perf_counter``.

    Attributes:
        in_steps: seconds spent in training steps.
        in_evaluation: seconds that the last evaluation took, saving and sample included, or is thought to take; 0
            before either is known.
        in_saving: seconds that the last checkpoint took.
        per_character: seconds that the last evaluation took for each character predicted.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self.in_steps = self.in_evaluation = self.in_saving = self.per_character = self._before = 0.0
        self._started = clock()

    @property
    def seconds(self) -> float:
        """Seconds spent on the run so far."""
        return self._before + self.now() - self._started

    def go_on(self, seconds: float | None = None) -> None:
        """Count from here on, on top of ``seconds``; without them, of what has been counted until :meth:`pause`."""
        self._before, self._started = self._before if seconds is None else seconds, self.now()

    def pause(self) -> None:
        """Keep what has been counted; the time until :meth:`go_on` does not count."""
        self.go_on(self.seconds)
