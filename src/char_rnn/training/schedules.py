"""Learning rates as functions of the step alone, and the fitting of a schedule to a number of minutes.

A schedule never looks at the clock. A run that is to last M minutes fits the schedule to the speed it measures, several
times on its way; what was fitted is a short list of knots (step, progress). The knots written down, the same run can
be repeated on any machine, step for step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from char_rnn.utils.config import TrainingConfig

Knot = tuple[int, float]

# Shares of the time budget at which the number of steps still to come is fitted anew.
REFIT_AT = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.96)


@dataclass
class WarmupCosine:
    """Linear warm-up, then half a cosine down to the floor (Loshchilov and Hutter 2017, arXiv 1608.03983, no restarts).

    Attributes:
        peak: the highest learning rate.
        floor: the learning rate at the end.
        warmup_steps: steps over which the rate rises from 0 to the peak.
        knots: (step, progress) pairs, progress 0 at the end of the warm-up and 1 at the last step; linear in between.
    """

    peak: float
    floor: float
    warmup_steps: int
    knots: list[Knot] = field(default_factory=list)

    def learning_rate(self, step: int) -> float:
        """Return the rate of the step that follows ``step`` finished ones."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.progress(step)))
        return warmup * (self.floor + (self.peak - self.floor) * cosine)

    def progress(self, step: int) -> float:
        """Return how far along the cosine the run is after ``step`` steps, from 0 to 1."""
        return interpolate(self.knots, step)

    @property
    def total_steps(self) -> int | None:
        """The step at which the schedule ends; None while nothing has been fitted."""
        return self.knots[-1][0] if self.knots else None

    def refit(self, step: int, total_steps: int) -> None:
        """From ``step`` on, go in a straight line to the end at ``total_steps``; what lies before stays as it was."""
        here = (step, self.progress(step))
        self.knots = [knot for knot in self.knots if knot[0] < step] + [here, (max(total_steps, step + 1), 1.0)]


def straight_knots(total_steps: int, warmup_steps: int) -> list[Knot]:
    """Return the knots of a schedule that is fitted once: progress starts after the warm-up and rises evenly."""
    return [(min(warmup_steps, total_steps - 1), 0.0), (total_steps, 1.0)]


def interpolate(knots: Sequence[Knot], step: int) -> float:
    """Return the progress at ``step``: linear between knots, constant outside, 0 without knots."""
    if not knots or step <= knots[0][0]:
        return knots[0][1] if knots else 0.0
    for (left, low), (right, high) in pairwise(knots):
        if step <= right:
            return low + (high - low) * (step - left) / (right - left)
    return knots[-1][1]


@dataclass
class TimeBudget:
    """Decides how many steps fit into a number of seconds, from what steps and evaluations have taken so far.

    Attributes:
        seconds: the whole budget, evaluations included.
        eval_interval: steps between two evaluations.
        fits: how many of ``REFIT_AT`` are behind.
        mark: (step, seconds spent in steps) at the last fit, to measure the speed since.
    """

    seconds: float
    eval_interval: int
    fits: int = 0
    mark: tuple[int, float] = (0, 0.0)

    def due(self, elapsed: float) -> bool:
        """Tell whether it is time to fit again; ``elapsed`` in seconds since the start."""
        return self.fits < len(REFIT_AT) and elapsed >= REFIT_AT[self.fits] * self.seconds

    def fit(self, step: int, elapsed: float, step_seconds: float, evaluation_seconds: float) -> int:
        """Return the number of steps after which the budget will be spent.

        Args:
            step: steps finished.
            elapsed: seconds since the start, all included.
            step_seconds: seconds of those spent in training steps.
            evaluation_seconds: what one evaluation takes; the last one has to fit too.
        """
        while self.due(elapsed):
            self.fits += 1
        since, spent = step - self.mark[0], step_seconds - self.mark[1]
        pace = spent / since if since >= 20 and spent > 0 else step_seconds / max(step, 1)
        self.mark = (step, step_seconds)
        left = self.seconds - elapsed - evaluation_seconds
        steps = int(left / (pace + evaluation_seconds / self.eval_interval)) if pace > 0 else 1
        return step + max(steps, 1)


class Plan:
    """A run's schedule within its limits: epochs, steps and minutes, whichever comes first.

    Args:
        config: the ``training`` section.
        steps_per_epoch: batches in one pass over the text.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: int) -> None:
        self.limit = config.max_epochs * steps_per_epoch
        if config.max_steps is not None:
            self.limit = min(self.limit, config.max_steps)
        self.schedule = WarmupCosine(config.learning_rate, config.min_learning_rate, config.warmup_steps)
        self.budget: TimeBudget | None = None
        if config.schedule_knots is not None:
            self.schedule.knots = list(config.schedule_knots)
        elif config.minutes is None:
            self.schedule.knots = straight_knots(self.limit, config.warmup_steps)
        else:
            self.budget = TimeBudget(60.0 * config.minutes, config.eval_interval)

    @property
    def total_steps(self) -> int | None:
        """Where the run ends; None until a run of so many minutes has measured its speed."""
        return min(self.schedule.knots[-1][0], self.limit) if self.schedule.knots else None

    def refit_due(self, elapsed: float) -> bool:
        """Tell whether the schedule is to be fitted to the time left; ``elapsed`` in seconds."""
        return self.budget is not None and self.budget.due(elapsed)

    def refit(self, step: int, elapsed: float, step_seconds: float, evaluation_seconds: float) -> None:
        """Fit the number of steps to the speed so far; see ``TimeBudget.fit``."""
        assert self.budget is not None
        total = self.budget.fit(step, elapsed, step_seconds, evaluation_seconds)
        self.schedule.refit(step, min(total, self.limit))

    def state(self) -> dict[str, Any] | None:
        """Return what has been fitted, as JSON can hold it; None when nothing is to be fitted."""
        if self.budget is None:
            return None
        return {"knots": self.schedule.knots, "fits": self.budget.fits, "mark": self.budget.mark}

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        """Take up what ``state`` returned; a run without a budget keeps to its configuration."""
        if self.budget is None or state is None:
            return
        self.schedule.knots = [(int(step), float(progress)) for step, progress in state["knots"]]
        self.budget.fits = int(state["fits"])
        self.budget.mark = (int(state["mark"][0]), float(state["mark"][1]))
