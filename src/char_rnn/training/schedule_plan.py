"""Where a run ends, what its learning rate is, and how both are fitted to a number of minutes.

A run that is to last M minutes fits the schedule to the speed it measures, several times on its way; what was fitted is
a short list of horizons. Written down, they repeat the run on any machine, step for step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from char_rnn.training.checkpoints import CheckpointError
from char_rnn.training.learning_rate import WarmupPlateau, build_schedule
from char_rnn.training.time_budget import SETTLED_SHARE, TimeBudget
from char_rnn.utils.config import Config, TrainingConfig

COUNTERS = ("stale", "stale_since_drop", "evaluated_at", "halvings")


class SchedulePlan:
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

    def repeatable(self, config: Config, step: int) -> Config:
        """Return the configuration that repeats a run exactly, after its last step: minutes become steps."""
        if self.budget is None or not (step >= self.total_steps or self.out_of_patience):
            return config
        fitted = {
            "minutes": None,
            "max_steps": self.total_steps,
            "horizons": list(self.schedule.horizons),
            "eval_characters": self.eval_characters,
        }
        return config.model_copy(update={"training": config.training.model_copy(update=fitted)})

    def state_dict(self) -> dict[str, Any]:
        """Return what has been fitted and counted, as JSON can hold it."""
        state: dict[str, Any] = {name: getattr(self, name) for name in (*COUNTERS, "eval_characters")}
        if isinstance(self.schedule, WarmupPlateau):
            state["drops"] = list(self.schedule.drops)
        if self.budget is not None:
            state |= {"horizons": list(self.schedule.horizons), "seconds": self.budget.seconds}
            state |= {"mark": self.budget.mark, "reserve": self.budget.reserve}
        return state

    def load_state_dict(self, state: Mapping[str, Any] | None, step: int, elapsed: float) -> None:
        """Restore what ``state_dict`` returned after ``step`` steps and ``elapsed`` seconds (None in old files).

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
