"""Where a run ends, what its learning rate is, and how both are fitted to a number of minutes.

A run that is to last M minutes fits the schedule to the speed it measures, several times on its way; what was fitted is
a short list of horizons. Written down, they repeat the run on any machine, step for step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from char_rnn.training.checkpoints import CheckpointError
from char_rnn.training.schedules import WarmupPlateau, build_schedule
from char_rnn.utils.config import TrainingConfig

# Shares of the time budget at which the number of steps still to come is fitted anew.
REFIT_AT = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.96)

# Fewer steps than these say little about a machine's speed, until so much of the time has gone.
FEWEST_STEPS, FEW_STEPS_SHARE = 20, 0.5

# The step total of a timed run has settled when the last fit changed it by at most this share.
SETTLED_SHARE = 0.05

# A clock that stands still, or a state that is wrong about the time, must not make the total infinite.
MAX_STEPS = 2**53

# Share of the time that evaluations may take together before they read parts of their splits, and that a single one may
# take in any case: whoever evaluates a small text often gets whole splits.
EVALUATION_SHARE, SMALL_SHARE = 0.2, 0.01

# Characters that an evaluation predicts at least.
SMALLEST_PART = 4096

# A training step takes about as long as predicting three times its characters.
PASSES_OF_A_STEP = 3

COUNTERS = ("stale", "stale_since_drop", "evaluated_at", "halvings")


@dataclass
class TimeBudget:
    """Decides how many steps fit into a number of seconds, from what steps and evaluations have taken so far.

    Attributes:
        seconds: the whole budget, evaluations included.
        eval_interval: steps between two evaluations.
        fits: how many of ``REFIT_AT`` are behind.
        mark: (step, seconds spent in steps) at the last fit, to measure the speed since.
        changed: the budget is another one than the last fit was for.
        reserve: seconds at the end in which no step is made: the last evaluations.
    """

    seconds: float
    eval_interval: int
    fits: int = 0
    mark: tuple[int, float] = (0, 0.0)
    changed: bool = False
    reserve: float = 0.0

    def due(self, elapsed: float, step: int, end: int) -> bool:
        """Tell whether it is time to fit again: so much time has gone, or half of the steps that were thought to fit.

        Without the second a machine that was slow for a while would leave most of the budget unused. Nothing is fitted
        to the first few steps, unless there will be no more of them: a slow beginning says little, and a learning rate
        that has come down does not rise again.

        Args:
            elapsed: seconds since the start.
            step: steps finished.
            end: the step that the last fit came to.
        """
        if step < FEWEST_STEPS and elapsed < FEW_STEPS_SHARE * self.seconds:
            return False
        if self.changed or self.passed(elapsed):
            return True
        return 2 * (step - self.mark[0]) >= end - self.mark[0] and elapsed < self._moment(-1)

    def passed(self, elapsed: float) -> bool:
        """Tell whether the next of the moments at which to fit has come."""
        return self.fits < len(REFIT_AT) and elapsed >= self._moment(self.fits)

    def _moment(self, number: int) -> float:
        return REFIT_AT[number] * max(self.seconds - self.reserve, 0.0)

    def part(self, val: int, test: int, per_character: float, step_characters: int) -> int | None:
        """Return how many characters of a split an evaluation may predict; None for all.

        A power of two, so that runs of a sweep mostly come to the same. Where it is half of a split, the whole is read.

        Args:
            val: Characters to predict in the validation split, 0 without one.
            test: Those of the test split, measured once at the end.
            per_character: Seconds that predicting one takes.
            step_characters: Characters of a training step.
        """
        if per_character <= 0 or not val + test:
            return None
        interval = self.eval_interval * step_characters * PASSES_OF_A_STEP * per_character
        times = 1 + (1 - EVALUATION_SHARE) * self.seconds / interval
        most = EVALUATION_SHARE * self.seconds / per_character  # characters, of all evaluations together
        if val * times + test <= most or max(val, test) * per_character <= SMALL_SHARE * self.seconds:
            return None
        part = max(SMALLEST_PART, 2 ** int(math.log2(max(most / (times * (val > 0) + (test > 0)), 1))))
        return part if max(val, test) > 2 * part else None

    def fit(
        self, step: int, elapsed: float, step_seconds: float, evaluation_seconds: float, test_seconds: float = 0.0
    ) -> int:
        """Return the number of steps after which the budget will be spent.

        Args:
            step: steps finished.
            elapsed: seconds since the start, all included.
            step_seconds: seconds of those spent in training steps.
            evaluation_seconds: what one evaluation takes; the last one has to fit too.
            test_seconds: what the evaluation of the test split takes, at the end.
        """
        self.reserve = evaluation_seconds + test_seconds
        self.changed = False
        while self.passed(elapsed):
            self.fits += 1
        since, spent = step - self.mark[0], step_seconds - self.mark[1]
        pace = spent / since if since >= FEWEST_STEPS and spent > 0 else step_seconds / max(step, 1)
        self.mark = (step, step_seconds)
        left = self.seconds - elapsed - self.reserve
        steps = int(min(left / (pace + evaluation_seconds / self.eval_interval), MAX_STEPS)) if pace > 0 else 1
        return step + max(steps, 1)


class Plan:
    """A run's schedule within its limits: epochs, steps, minutes and patience, whichever comes first.

    Args:
        config: the ``training`` section.
        steps_per_epoch: batches in one pass over the text.
        validated: whether there is a validation split.

    Raises:
        ValueError: patience, the schedule or the averaging goes by the validation loss, and there is none.

    Attributes:
        schedule: the learning rate by the step.
        stale, stale_since_drop: evaluations in a row that brought no new best, all and since the plateau's last drop.
        evaluated_at: the step after which it was evaluated last.
        halvings: how often the rate has been halved because the loss exploded.
        eval_characters: characters of a split that an evaluation predicts; None for all.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: int, *, validated: bool = True) -> None:
        if not validated and (key := _going_by_validation(config)) is not None:
            raise ValueError(
                f"{key} goes by the validation loss, and there is no validation split; set data.val_frac above 0"
            )
        self.limit = config.max_epochs * steps_per_epoch
        if config.max_steps is not None:
            self.limit = min(self.limit, config.max_steps)
        self.schedule = build_schedule(config, steps_per_epoch, self.limit)
        self.budget = TimeBudget(60.0 * config.minutes, config.eval_interval) if config.minutes is not None else None
        self.eval_characters = config.eval_characters
        self.patience, self._plateau_patience = config.patience, config.plateau_patience
        self.stale = self.stale_since_drop = self.halvings = self.evaluated_at = 0

    @property
    def total_steps(self) -> int:
        """Where the run ends, as far as is known."""
        return min(self.schedule.end, self.limit)

    @property
    def settled(self) -> bool:
        """Whether ``total_steps`` is more than an estimate: no time budget, or two fits in a row agree within 5%."""
        if self.budget is None:
            return True
        ends = [end for _, end in self.schedule.horizons[-2:]]
        return len(ends) == 2 and abs(ends[1] - ends[0]) <= SETTLED_SHARE * ends[1]

    @property
    def out_of_patience(self) -> bool:
        """Whether validation has brought nothing new for so long that the run ends."""
        return self.patience is not None and self.stale >= self.patience

    def learning_rate(self, step: int) -> float:
        """Return the rate of the step that follows ``step`` finished ones."""
        return self.schedule.learning_rate(step) * 0.5**self.halvings

    def evaluated(self, step: int, *, improved: bool) -> None:
        """Take note of an evaluation after ``step`` steps: a new best, or none; once for each step."""
        if step == self.evaluated_at:
            return
        self.evaluated_at = step
        self.stale = 0 if improved else self.stale + 1
        self.stale_since_drop = 0 if improved else self.stale_since_drop + 1
        if isinstance(self.schedule, WarmupPlateau) and self.stale_since_drop >= self._plateau_patience:
            self.schedule.drops.append(step)
            self.stale_since_drop = 0

    def refit_due(self, step: int, elapsed: float) -> bool:
        """Tell whether the schedule is to be fitted to the time left, after ``step`` steps and ``elapsed`` seconds."""
        return self.budget is not None and self.budget.due(elapsed, step, self.total_steps)

    def refit(
        self, step: int, elapsed: float, step_seconds: float, evaluation_seconds: float, test_seconds: float = 0.0
    ) -> None:
        """Fit the number of steps to the speed so far; see ``TimeBudget.fit``."""
        assert self.budget is not None
        end = self.budget.fit(step, elapsed, step_seconds, evaluation_seconds, test_seconds)
        self.schedule.refit(step, min(end, self.limit))

    def state(self) -> dict[str, Any]:
        """Return what has been fitted and counted, as JSON can hold it."""
        state: dict[str, Any] = {name: getattr(self, name) for name in (*COUNTERS, "eval_characters")}
        if isinstance(self.schedule, WarmupPlateau):
            state["drops"] = list(self.schedule.drops)
        if self.budget is not None:
            state |= {"horizons": list(self.schedule.horizons), "seconds": self.budget.seconds}
            state |= {"mark": self.budget.mark, "reserve": self.budget.reserve}
        return state

    def load_state(self, state: Mapping[str, Any] | None, step: int, elapsed: float) -> None:
        """Take up what ``state`` returned after ``step`` steps and ``elapsed`` seconds; None is that of an old file.

        A run without a budget keeps to its configuration. One whose budget is another now is fitted anew at once.

        Raises:
            CheckpointError: the schedule is at its end, and the run is to go on.
        """
        state = state or {}
        for name in COUNTERS:
            setattr(self, name, int(state.get(name, 0)))
        if isinstance(self.schedule, WarmupPlateau):
            self.schedule.drops = [int(drop) for drop in state.get("drops", [])]
        if self.eval_characters is None and state.get("eval_characters") is not None:
            self.eval_characters = int(state["eval_characters"])
        if self.budget is not None and "horizons" in state:
            self._load_budget(self.budget, state, step, elapsed)

    def _load_budget(self, budget: TimeBudget, state: Mapping[str, Any], step: int, elapsed: float) -> None:
        self.schedule.horizons = [(int(start), int(end)) for start, end in state["horizons"]]
        budget.mark = (int(state["mark"][0]), float(state["mark"][1]))
        budget.reserve = float(state.get("reserve", 0.0))
        budget.fits = 0
        while budget.passed(elapsed):
            budget.fits += 1
        budget.changed = budget.seconds != state["seconds"]
        if self.schedule.comes_to_rest and step >= self.schedule.end and (budget.changed or budget.passed(elapsed)):
            raise CheckpointError(
                "the run's learning rate has come down to the end; start a new run from it with --init-from"
            )


def _going_by_validation(config: TrainingConfig) -> str | None:
    """Return the setting that needs a validation loss, if there is one."""
    if config.patience is not None:
        return f"training.patience {config.patience}"
    if config.schedule == "plateau":
        return "training.schedule plateau"
    return "training.averaging nt-asgd" if config.averaging == "nt-asgd" else None
