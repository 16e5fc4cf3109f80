"""Where the time of a run goes, over all the parts of a resumed one.

Plans the evaluations of a timed run before its first step: what one takes, and how much of a split it may read.

Without it the first evaluation of a large text, which may be the last, takes many times the minutes asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from char_rnn.training.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer


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


TIMES = {
    "seconds_in_steps": "in_steps",
    "seconds_of_evaluation": "in_evaluation",
    "seconds_per_character": "per_character",
}
"""Attributes of the timer by their names in the training state."""


class Timer:
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

    def state_dict(self) -> dict[str, float]:
        """Return the seconds, as JSON values."""
        return {"seconds": self.seconds, **{name: getattr(self, attribute) for name, attribute in TIMES.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, and count on from there."""
        self.go_on(float(state["seconds"]))
        for name, attribute in TIMES.items():
            setattr(self, attribute, float(state.get(name, 0.0)))

    def pause(self) -> None:
        """Keep what has been counted; the time until :meth:`go_on` does not count."""
        self.go_on(self.seconds)


# Share of the time after which a part of an evaluation has taken long enough to tell the speed.
PROBE_SHARE = 0.01


def plan_evaluations(trainer: CharRNNTrainer) -> None:
    """Time a part of an evaluation, a checkpoint and a sample; limit evaluations where whole splits take too long.

    Args:
        trainer: Of a run with a time budget. Its timer gets the seconds of an evaluation, its plan the number of
            characters.
    """
    timer, plan = trainer.timer, trainer.plan
    assert plan.budget is not None
    val, test = _predicted(trainer, "val"), _predicted(trainer, "test")
    if val + test:
        _time_evaluation(trainer, "val" if val >= test else "test", plan.budget.seconds * PROBE_SHARE)
    batches = trainer.train_batches
    part = plan.budget.part(val, test, timer.per_character, batches.batch_size * batches.seq_length)
    if part is not None and plan.eval_characters is None:
        plan.eval_characters = part
        trainer.tell_event({"event": "evaluation", "characters": part, "of": max(val, test)})
    began = timer.now()
    trainer.sample()
    writing = timer.now() - began
    timer.in_evaluation = timer.per_character * _predicted(trainer, "val") + timer.in_saving + writing


def refit(trainer: CharRNNTrainer) -> None:
    """Refit the schedule of a timed run if that is due, in every process by the clock of the first."""
    seconds, timer, broadcast = trainer.group.broadcast(trainer.seconds), trainer.timer, trainer.group.broadcast
    if trainer.plan.refit_due(trainer.step, seconds):
        test = timer.per_character * _predicted(trainer, "test")
        trainer.plan.refit(trainer.step, seconds, *map(broadcast, (timer.in_steps, timer.in_evaluation, test)))


def timed_evaluation(trainer: CharRNNTrainer, split: str, characters: int | None) -> Evaluation:
    """Evaluate about so many characters of a split (None: all), and note the seconds that each took."""
    began, group = trainer.timer.now(), trainer.group
    progress = partial(trainer.metrics.tell, "on_evaluating", split)
    text, model = trainer.dataloaders[split].split, trainer.stepper.trained
    evaluation = evaluate(model, text, trainer.device, group, characters, progress)
    trainer.timer.per_character = group.broadcast(trainer.timer.now() - began) / evaluation.characters
    return evaluation


def _predicted(trainer: CharRNNTrainer, split: str) -> int:
    """Return about how many characters of a split an evaluation predicts, 0 if there is no such split."""
    if split not in trainer.dataloaders:
        return 0
    whole = trainer.dataloaders[split].split.predicted
    return min(whole, trainer.plan.eval_characters or whole)


def _time_evaluation(trainer: CharRNNTrainer, split: str, enough: float) -> None:
    """Evaluate ever larger parts of a split until one has taken ``enough`` seconds, after one that warms up."""
    part = SMALLEST_PART
    timed_evaluation(trainer, split, part)
    while (measured := timed_evaluation(trainer, split, part)).of is not None:
        if trainer.timer.per_character * measured.characters >= enough:
            return
        part *= 4
