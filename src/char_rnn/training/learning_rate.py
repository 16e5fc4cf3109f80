"""The learning rate of a step, and the step at which a run ends.

A schedule depends only on the step (and, for ``plateau``, on the steps at which the rate fell), never on the clock. A
run of so many minutes changes the end of its schedule on the way (:mod:`char_rnn.training.time_budget`); the list of
segments that results repeats the run on any machine, step for step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from char_rnn.training.checkpoints import CheckpointError
from char_rnn.training.time_budget import TimeBudget
from char_rnn.utils.config import Config, TrainingConfig

Segment = tuple[int, int]
"""(step, end): from this step on, the schedule ends at that step. The configuration calls these `horizons`."""

CYCLE_RISE, CYCLE_START = 0.3, 25.0

SETTLED_SHARE = 0.05
"""The step total of a timed run is settled when the last fit changed it by at most this share."""

COUNTERS = ("stale", "stale_since_drop", "evaluated_at", "halvings")


class Schedule:
    """Linear warm-up, then the configured schedule.

    - ``cosine``: half a cosine down to the minimum (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).
    - ``linear``: a straight line down to the minimum.
    - ``constant``: the peak.
    - ``one-cycle``: half a cosine up in the first 30%, from a 25th of the peak, then half a cosine down (Smith and
      Topin 2018, arXiv 1708.07120), as ``torch.optim.lr_scheduler.OneCycleLR`` with a constant momentum.
    - ``plateau``: the peak, multiplied by a factor whenever the validation loss has stalled.
    - ``exponential``: the peak, multiplied by a factor after each epoch, as in the 2015 program.

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


class SchedulePlan:
    """A run's schedule and its limits: epochs, steps, minutes and patience, whichever comes first.

    Raises:
        ValueError: Patience or the schedule needs the validation loss, and there is no validation split.

    Attributes:
        schedule: Learning rate by the step.
        budget: Time budget; None without ``training.minutes``.
        stale: Evaluations in a row without a new best.
        stale_since_drop: The same, since the last drop of ``plateau``.
        evaluated_at: Step of the last evaluation.
        halvings: Number of times the rate was halved because the loss exploded.
        eval_characters: Characters of a split that an evaluation predicts; None for all.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: int, *, validated: bool = True) -> None:
        needs = f"patience {config.patience}" if config.patience is not None else "schedule plateau"
        if not validated and (config.patience is not None or config.schedule == "plateau"):
            raise ValueError(
                f"training.{needs} needs a validation loss, but there is no validation split; set data.val_frac above 0"
            )
        self._config = config
        self.limit = min(config.max_epochs * steps_per_epoch, config.max_steps or 2**63)
        self.schedule = Schedule(config, steps_per_epoch, self.limit)
        self.budget = TimeBudget(60.0 * config.minutes, config.eval_interval) if config.minutes is not None else None
        self.eval_characters = config.eval_characters
        self.stale = self.stale_since_drop = self.halvings = self.evaluated_at = 0

    @property
    def total_steps(self) -> int:
        """The step at which the run ends; an estimate in a timed run."""
        return min(self.schedule.end, self.limit)

    @property
    def settled(self) -> bool:
        """Whether ``total_steps`` is reliable: no time budget, or the last two fits agree within 5%."""
        if self.budget is None:
            return True
        ends = [end for _, end in self.schedule.segments[-2:]]
        return len(ends) == 2 and abs(ends[1] - ends[0]) <= SETTLED_SHARE * ends[1]

    @property
    def out_of_patience(self) -> bool:
        """Whether the run ends because validation has not improved for ``training.patience`` evaluations."""
        return self._config.patience is not None and self.stale >= self._config.patience

    def learning_rate(self, step: int) -> float:
        """Return the rate of the step that follows `step` finished ones."""
        return self.schedule.learning_rate(step) * 0.5**self.halvings

    def evaluated(self, step: int, *, improved: bool) -> None:
        """Count an evaluation after `step` steps, once for each step."""
        if step == self.evaluated_at:
            return
        self.evaluated_at = step
        self.stale = 0 if improved else self.stale + 1
        self.stale_since_drop = 0 if improved else self.stale_since_drop + 1
        if self._config.schedule == "plateau" and self.stale_since_drop >= self._config.plateau_patience:
            self.schedule.drops.append(step)
            self.stale_since_drop = 0

    def refit(
        self, step: int, elapsed: float, step_seconds: float, evaluation_seconds: float, test_seconds: float = 0.0
    ) -> None:
        """Fit the number of steps to the speed so far; see `TimeBudget.fit`."""
        assert self.budget is not None
        end = self.budget.fit(step, elapsed, step_seconds, evaluation_seconds, test_seconds)
        self.schedule.refit(step, min(end, self.limit))

    def repeatable(self, config: Config, step: int) -> Config:
        """Return the configuration that repeats a run exactly, after its last step: minutes become steps."""
        if self.budget is None or not (step >= self.total_steps or self.out_of_patience):
            return config
        fitted = {
            "minutes": None,
            "max_steps": self.total_steps,
            "horizons": list(self.schedule.segments),
            "eval_characters": self.eval_characters,
        }
        return config.changed(training=fitted)

    def state_dict(self) -> dict[str, Any]:
        """Return the fitted and counted values as JSON values."""
        state: dict[str, Any] = {name: getattr(self, name) for name in (*COUNTERS, "eval_characters")}
        state["drops"] = list(self.schedule.drops)
        if self.budget is not None:
            state |= {"horizons": list(self.schedule.segments), "seconds": self.budget.seconds}
            state |= {"mark": self.budget.mark, "reserve": self.budget.reserve}
        return state

    def load_state_dict(self, state: Mapping[str, Any], step: int, elapsed: float) -> None:
        """Restore what `state_dict` returned after `step` steps and `elapsed` seconds.

        A run without a time budget keeps the schedule of its configuration. One with a different budget than before is
        fitted again at once.

        Raises:
            CheckpointError: The schedule has ended, and the run is to continue.
        """
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.schedule.drops = list(state["drops"])
        self.eval_characters = self.eval_characters or state["eval_characters"]
        if self.budget is not None and state["horizons"]:
            self.schedule.segments = list(state["horizons"])
            self.budget.load_state_dict(state, elapsed)
            decays = self._config.schedule in ("cosine", "linear", "one-cycle")  # further steps would learn nothing
            over = decays and step >= self.schedule.end
            if over and (self.budget.changed or self.budget.passed(elapsed)):
                raise CheckpointError(
                    "the learning-rate schedule has ended; start a new run from this one with --init-from"
                )
