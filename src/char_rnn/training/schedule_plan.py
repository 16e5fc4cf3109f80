"""Where a run ends and what its learning rate is on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from char_rnn.training.checkpoints import CheckpointError
from char_rnn.training.learning_rate import Schedule
from char_rnn.training.time_budget import TimeBudget
from char_rnn.utils.config import Config, TrainingConfig

SETTLED_SHARE = 0.05
"""The step total of a timed run is settled when the last fit changed it by at most this share."""

COUNTERS = ("stale", "stale_since_drop", "evaluated_at", "halvings")


class SchedulePlan:
    """A run's schedule and its limits: epochs, steps, minutes and patience, whichever comes first.

    Args:
        config: Section ``training`` of the configuration.
        steps_per_epoch: Batches in one pass over the text.
        validated: Whether there is a validation split.

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
        if not validated and (key := _validation_setting(config)) is not None:
            raise ValueError(
                f"{key} needs a validation loss, but there is no validation split; set data.val_frac above 0"
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

    def refit_due(self, step: int, elapsed: float) -> bool:
        """Whether to fit the schedule to the remaining time, after `step` steps and `elapsed` seconds."""
        return self.budget is not None and self.budget.due(elapsed, step, self.total_steps)

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
        return config.model_copy(update={"training": config.training.model_copy(update=fitted)})

    def state_dict(self) -> dict[str, Any]:
        """Return the fitted and counted values as JSON values."""
        state: dict[str, Any] = {name: getattr(self, name) for name in (*COUNTERS, "eval_characters")}
        if self._config.schedule == "plateau":
            state["drops"] = list(self.schedule.drops)
        if self.budget is not None:
            state |= {"horizons": list(self.schedule.segments), "seconds": self.budget.seconds}
            state |= {"mark": self.budget.mark, "reserve": self.budget.reserve}
        return state

    def load_state_dict(self, state: Mapping[str, Any] | None, step: int, elapsed: float) -> None:
        """Restore what `state_dict` returned after `step` steps and `elapsed` seconds; None for that of an old file.

        A run without a time budget keeps the schedule of its configuration. One with a different budget than before is
        fitted again at once.

        Raises:
            CheckpointError: The schedule has ended, and the run is to continue.
        """
        state = state or {}
        for name in COUNTERS:
            setattr(self, name, int(state.get(name, 0)))
        self.schedule.drops = [int(drop) for drop in state.get("drops", [])]
        if self.eval_characters is None and state.get("eval_characters") is not None:
            self.eval_characters = int(state["eval_characters"])
        if self.budget is not None and "horizons" in state:
            self.schedule.segments = [(int(start), int(end)) for start, end in state["horizons"]]
            self.budget.load_state_dict(state, elapsed)
            over = self.schedule.decays_to_end and step >= self.schedule.end
            if over and (self.budget.changed or self.budget.passed(elapsed)):
                raise CheckpointError(
                    "the learning rate has decayed to its end; start a new run from this one with --init-from"
                )


def _validation_setting(config: TrainingConfig) -> str | None:
    """Return the setting that needs a validation loss, if there is one."""
    if config.patience is not None:
        return f"training.patience {config.patience}"
    return "training.schedule plateau" if config.schedule == "plateau" else None
