"""Learning rates as functions of the step alone (and, of the plateau schedule, of the steps at which it fell).

A schedule never looks at the clock: a run that is to last so many minutes refits its horizons on the way; see
:mod:`char_rnn.training.schedule_plan`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import ClassVar

from char_rnn.utils.config import TrainingConfig

Horizon = tuple[int, int]

CYCLE_RISE, CYCLE_BEGINNING = 0.3, 25.0


@dataclass
class Schedule(ABC):
    """Linear warm-up, then what the subclass says.

    Attributes:
        peak: the highest learning rate.
        floor: the lowest after the warm-up.
        warmup_steps: steps over which the rate rises from 0 to the peak.
        horizons: (step, end) pairs: from this step on the run is to end there.
    """

    peak: float
    floor: float
    warmup_steps: int
    horizons: list[Horizon]

    comes_to_rest: ClassVar[bool]
    """Whether the rate at the end is one that nothing more is learnt at."""

    def learning_rate(self, step: int) -> float:
        """Return the rate of the step that follows ``step`` finished ones."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * self._after_warmup(step)

    @abstractmethod
    def _after_warmup(self, step: int) -> float:
        """Return the rate without the warm-up."""

    @property
    def end(self) -> int:
        """The step at which the schedule ends."""
        return self.horizons[-1][1]

    def refit(self, step: int, end: int) -> None:
        """From ``step`` on, go evenly to ``end``; what lies before stays as it was, to the last bit."""
        self.horizons = [horizon for horizon in self.horizons if horizon[0] < step]
        self.horizons.append(straight(step, max(end, step + 1), self.warmup_steps))


@dataclass
class WarmupCosine(Schedule):
    """Warm-up, then half a cosine down to the floor (Loshchilov and Hutter 2017, arXiv 1608.03983, no restarts)."""

    comes_to_rest = True

    def _after_warmup(self, step: int) -> float:
        return _half_cosine(self.peak, self.floor, progress(self.horizons, step))


@dataclass
class WarmupLinear(Schedule):
    """Warm-up, then a straight line down to the floor."""

    comes_to_rest = True

    def _after_warmup(self, step: int) -> float:
        return self.peak + (self.floor - self.peak) * progress(self.horizons, step)


@dataclass
class WarmupConstant(Schedule):
    """Warm-up, then the peak to the end."""

    comes_to_rest = False

    def _after_warmup(self, step: int) -> float:
        return self.peak


@dataclass
class OneCycle(Schedule):
    """Up to the peak and down to the floor, each along half a cosine (Smith and Topin 2018, arXiv 1708.07120).

    The rise takes the first 30% of what follows the warm-up and begins at a 25th of the peak, as in
    ``torch.optim.lr_scheduler.OneCycleLR``; momentum stays as it is.
    """

    comes_to_rest = True

    def _after_warmup(self, step: int) -> float:
        done = progress(self.horizons, step)
        if done < CYCLE_RISE:
            return _half_cosine(self.peak / CYCLE_BEGINNING, self.peak, done / CYCLE_RISE)
        return _half_cosine(self.peak, self.floor, (done - CYCLE_RISE) / (1 - CYCLE_RISE))


@dataclass
class WarmupPlateau(Schedule):
    """Warm-up, then the peak, times a factor whenever the validation loss has stalled.

    Attributes:
        factor: what the rate is multiplied by.
        drops: the steps after which it was, in order.
    """

    factor: float
    drops: list[int] = field(default_factory=list)

    comes_to_rest = False

    def _after_warmup(self, step: int) -> float:
        times = sum(drop <= step for drop in self.drops)
        return max(self.floor, self.peak * self.factor**times)


@dataclass
class WarmupExponential(Schedule):
    """Warm-up, then a factor after each epoch, as in the 2015 program; the horizons say where it ends, and no more.

    Attributes:
        steps_per_epoch: steps in one pass over the text.
        decay: the factor.
        decay_after: the epoch at whose end it is applied for the first time.
    """

    steps_per_epoch: int
    decay: float
    decay_after: int

    comes_to_rest = False

    def _after_warmup(self, step: int) -> float:
        epochs = step // self.steps_per_epoch
        times = max(0, epochs - max(self.decay_after, 1) + 1)
        return max(self.floor, math.prod(repeat(self.decay, times), start=self.peak))  # one by one, rounded as in 2015


def _half_cosine(start: float, end: float, done: float) -> float:
    """Return the value between ``start`` and ``end`` when the share ``done`` of the way is behind."""
    return end + (start - end) * (0.5 * (1.0 + math.cos(math.pi * done)))


def straight(step: int, end: int, warmup_steps: int) -> Horizon:
    """Return the horizon from ``step`` to ``end``; the cosine does not begin before the warm-up is over."""
    return (min(max(step, warmup_steps), end - 1), end)


def progress(horizons: Sequence[Horizon], step: int) -> float:
    """Return how far along the cosine a run is after ``step`` steps, from 0 to 1.

    Each horizon shares what is left of the progress evenly among the steps to its end.
    """
    done = 0.0
    for number, (start, end) in enumerate(horizons):
        until = horizons[number + 1][0] if number + 1 < len(horizons) else end
        covered = min(step, until, end) - start
        if covered > 0:
            done += (1.0 - done) * covered / (end - start)
    return done


def build_schedule(config: TrainingConfig, steps_per_epoch: int, limit: int) -> Schedule:
    """Return the configured schedule of a run that ends at step ``limit`` if nothing ends it earlier."""
    horizons = list(config.horizons or [straight(0, limit, config.warmup_steps)])
    common = (config.learning_rate, config.min_learning_rate, config.warmup_steps, horizons)
    if config.schedule == "plateau":
        return WarmupPlateau(*common, config.plateau_factor)
    if config.schedule == "exponential":
        return WarmupExponential(*common, steps_per_epoch, config.learning_rate_decay, config.learning_rate_decay_after)
    return SHAPES[config.schedule](*common)


SHAPES: dict[str, type[Schedule]] = {
    "cosine": WarmupCosine,
    "linear": WarmupLinear,
    "constant": WarmupConstant,
    "one-cycle": OneCycle,
}
