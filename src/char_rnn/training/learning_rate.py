"""The learning rate of a step.

A schedule depends only on the step (and, for ``plateau``, on the steps at which the rate fell), never on the clock. A
run of so many minutes changes the end of its schedule on the way (:mod:`char_rnn.training.time_budget`); the list of
segments that results repeats the run on any machine, step for step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

from char_rnn.utils.config import TrainingConfig

Segment = tuple[int, int]
"""(step, end): from this step on, the schedule ends at that step. The configuration calls these `horizons`."""

CYCLE_RISE, CYCLE_START = 0.3, 25.0


class Schedule:
    """Linear warm-up, then the configured schedule.

    - ``cosine``: half a cosine down to the minimum (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).
    - ``linear``: a straight line down to the minimum.
    - ``constant``: the peak.
    - ``one-cycle``: half a cosine up in the first 30%, from a 25th of the peak, then half a cosine down (Smith and
      Topin 2018, arXiv 1708.07120), as ``torch.optim.lr_scheduler.OneCycleLR`` with a constant momentum.
    - ``plateau``: the peak, multiplied by a factor whenever the validation loss has stalled.
    - ``exponential``: the peak, multiplied by a factor after each epoch, as in the 2015 program.

    Args:
        config: Section ``training`` of the configuration.
        steps_per_epoch: Steps in one pass over the text.
        limit: Step at which the run ends if nothing ends it earlier.

    Attributes:
        segments: Segments of the schedule, in order.
        drops: Steps after which the rate of ``plateau`` fell, in order.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: int, limit: int) -> None:
        self._config, self._steps_per_epoch = config, steps_per_epoch
        self.segments = list(config.horizons or [segment(0, limit, config.warmup_steps)])
        self.drops: list[int] = []

    @property
    def end(self) -> int:
        """The step at which the schedule ends."""
        return self.segments[-1][1]

    @property
    def decays_to_end(self) -> bool:
        """Whether the rate reaches its minimum at the end, so that further steps would learn nothing."""
        return self._config.schedule in ("cosine", "linear", "one-cycle")

    def refit(self, step: int, end: int) -> None:
        """From `step` on, progress evenly to `end`; earlier rates stay the same, to the last bit."""
        self.segments = [each for each in self.segments if each[0] < step]
        self.segments.append(segment(step, max(end, step + 1), self._config.warmup_steps))

    def learning_rate(self, step: int) -> float:
        """Return the rate of the step that follows `step` finished ones."""
        warmup_steps = self._config.warmup_steps
        warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
        return warmup * self._after_warmup(step)

    def _after_warmup(self, step: int) -> float:
        config = self._config
        peak, minimum = config.learning_rate, config.min_learning_rate
        if config.schedule == "constant":
            return peak
        if config.schedule == "plateau":
            times = sum(drop <= step for drop in self.drops)
            return max(minimum, peak * config.plateau_factor**times)
        if config.schedule == "exponential":
            times = max(0, step // self._steps_per_epoch - max(config.learning_rate_decay_after, 1) + 1)
            # One factor at a time, rounded as in 2015.
            return max(minimum, math.prod(repeat(config.learning_rate_decay, times), start=peak))
        done = progress(self.segments, step)
        if config.schedule == "linear":
            return peak + (minimum - peak) * done
        if config.schedule == "cosine":
            return _half_cosine(peak, minimum, done)
        if done < CYCLE_RISE:
            return _half_cosine(peak / CYCLE_START, peak, done / CYCLE_RISE)
        return _half_cosine(peak, minimum, (done - CYCLE_RISE) / (1 - CYCLE_RISE))


def segment(step: int, end: int, warmup_steps: int) -> Segment:
    """Return the segment from `step` to `end`; it does not begin before the warm-up is over."""
    return (min(max(step, warmup_steps), end - 1), end)


def progress(segments: Sequence[Segment], step: int) -> float:
    """Return the progress of a schedule after `step` steps, from 0 to 1.

    Each segment divides the remaining progress evenly among the steps to its end.
    """
    done = 0.0
    for number, (start, end) in enumerate(segments):
        until = segments[number + 1][0] if number + 1 < len(segments) else end
        covered = min(step, until, end) - start
        if covered > 0:
            done += (1.0 - done) * covered / (end - start)
    return done


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (0.5 * (1.0 + math.cos(math.pi * done)))
