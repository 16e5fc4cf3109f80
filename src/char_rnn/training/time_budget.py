"""The time of a run: its timer, and the conversion of `--minutes` into steps and evaluations.

A run that is to last M minutes fits its schedule to the measured speed several times on the way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from char_rnn.training.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer

REFIT_AT = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.96)
"""Shares of the time for training at which the number of remaining steps is fitted again."""

FEWEST_STEPS, FEW_STEPS_SHARE = 20, 0.5
"""Fewer steps say little about a machine's speed; they are used only when this share of the time has passed."""

PAUSE = 10
"""A step that takes so many times as long as the typical one of the latest `FEWEST_STEPS` was held up by a pause of the
machine, which says nothing about the steps to come."""

MAX_STEPS = 2**53
"""Limit for a clock that stands still or a state with wrong times."""

EVALUATION_SHARE, SMALL_SHARE = 0.2, 0.01
"""Share of the time that all evaluations together may take before they read parts of their splits, and the share that a
single one may always take: frequent evaluations of a small text still read whole splits."""

SMALLEST_PART = 4096
"""Smallest number of characters that an evaluation predicts."""

PASSES_OF_A_STEP = 3
"""A training step takes about as long as predicting so many times its characters."""

PROBE_SHARE = 0.01
"""Share of the time after which a part of an evaluation has taken long enough to measure the speed."""

TIMES = ("seconds_in_steps", "seconds_of_evaluation", "seconds_per_character")
"""Attributes of the timer in the training state."""


class Timer:
    """Counts the seconds of a run, over all parts of a resumed one.

    Attributes:
        now: The clock, in seconds as ``time.perf_counter``.
        seconds_in_steps: Seconds spent in training steps, without pauses of the machine.
        seconds_of_evaluation: Seconds of the last evaluation with saving and the sample, or an estimate; 0 before both.
        in_saving: Seconds of the last checkpoint.
        seconds_per_character: Seconds of the last evaluation for each predicted character.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self.seconds_in_steps = self.seconds_of_evaluation = self.seconds_per_character = 0.0
        self.in_saving = self._before = 0.0
        self._latest: deque[float] = deque(maxlen=FEWEST_STEPS)  # seconds of the latest steps
        self._started = clock()

    @property
    def seconds(self) -> float:
        """Seconds spent on the run so far."""
        return self._before + self.now() - self._started

    def add_step(self, seconds: float) -> None:
        """Add the seconds of a training step; if it was held up by a pause, those of a typical step."""
        typical = median(self._latest) if len(self._latest) == FEWEST_STEPS else math.inf
        self._latest.append(seconds)
        self.seconds_in_steps += typical if seconds > PAUSE * typical else seconds

    def resume(self, seconds: float | None = None) -> None:
        """Count from now on, starting at `seconds`; None continues after :meth:`pause`."""
        self._before, self._started = self._before if seconds is None else seconds, self.now()

    def pause(self) -> None:
        """Stop counting until :meth:`resume`."""
        self.resume(self.seconds)

    def state_dict(self) -> dict[str, float]:
        """Return the seconds, as JSON values."""
        return {"seconds": self.seconds, **{name: getattr(self, name) for name in TIMES}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, and continue to count from there."""
        self.resume(state["seconds"])
        for name in TIMES:
            setattr(self, name, state[name])


@dataclass
class TimeBudget:
    """Computes how many steps fit into a number of seconds, from the measured times of steps and evaluations.

    Attributes:
        seconds: The whole budget, including evaluations.
        eval_interval: Steps between two evaluations.
        fits: Number of moments of ``REFIT_AT`` that have passed.
        mark: (step, seconds in steps) at the last fit, to measure the speed since.
        changed: Whether the budget differs from that of the last fit.
        reserve: Seconds at the end without steps, for the last evaluations.
    """

    seconds: float
    eval_interval: int
    fits: int = 0
    mark: tuple[int, float] = (0, 0.0)
    changed: bool = False
    reserve: float = 0.0

    def due(self, elapsed: float, step: int, end: int) -> bool:
        """Whether to fit again: at the moments of ``REFIT_AT``, and after half of the steps that were expected.

        The second rule uses the rest of the budget after a machine was slow for a while. The first few steps are not
        fitted to, unless there will be no more: a slow start says little, and a learning rate that has decayed does not
        rise again. `end` is the last step by the last fit.
        """
        if step < FEWEST_STEPS and elapsed < FEW_STEPS_SHARE * self.seconds:
            return False
        if self.changed or self.passed(elapsed):
            return True
        return 2 * (step - self.mark[0]) >= end - self.mark[0] and elapsed < self._moment(-1)

    def passed(self, elapsed: float) -> bool:
        """Whether the next moment of ``REFIT_AT`` has passed."""
        return self.fits < len(REFIT_AT) and elapsed >= self._moment(self.fits)

    def _moment(self, number: int) -> float:
        return REFIT_AT[number] * max(self.seconds - self.reserve, 0.0)

    def fit(
        self, step: int, elapsed: float, step_seconds: float, evaluation_seconds: float, test_seconds: float = 0.0
    ) -> int:
        """Return the number of steps after which the budget will be spent.

        So far, `step` steps took `step_seconds` of `elapsed` seconds. The last evaluation, which takes
        `evaluation_seconds`, and that of the test split must fit too.
        """
        self.reserve = evaluation_seconds + test_seconds
        self.changed = False
        self._count_passed(elapsed)
        since, spent = step - self.mark[0], step_seconds - self.mark[1]
        pace = spent / since if since >= FEWEST_STEPS and spent > 0 else step_seconds / max(step, 1)
        self.mark = (step, step_seconds)
        left = self.seconds - elapsed - self.reserve
        steps = int(min(left / (pace + evaluation_seconds / self.eval_interval), MAX_STEPS)) if pace > 0 else 1
        return step + max(steps, 1)

    def part(self, val: int, test: int, per_character: float, step_characters: int) -> int | None:
        """Return how many characters of a split an evaluation may predict; None for all.

        The number is a power of two, so that the runs of a sweep usually have the same one; None if it is half of a
        split or more.

        Args:
            val: Characters to predict in the validation split, 0 without one.
            test: Characters of the test split, measured once at the end.
            per_character: Seconds of a predicted character.
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

    def load_state_dict(self, state: Mapping[str, Any], elapsed: float) -> None:
        """Restore the values that `SchedulePlan.state_dict` returned, after `elapsed` seconds."""
        self.mark, self.reserve, self.fits = state["mark"], state["reserve"], 0
        self._count_passed(elapsed)
        self.changed = self.seconds != state["seconds"]

    def _count_passed(self, elapsed: float) -> None:
        while self.passed(elapsed):
            self.fits += 1


def plan_evaluations(trainer: CharRNNTrainer) -> None:
    """Measure part of an evaluation, a checkpoint and a sample; limit evaluations if whole splits take too long.

    Otherwise the first evaluation of a large text, which may be the last, would take many times the requested minutes.
    Sets the timer's seconds of an evaluation and the plan's number of characters.
    """
    timer, plan = trainer.timer, trainer.plan
    assert plan.budget is not None
    val, test = _predicted(trainer, "val"), _predicted(trainer, "test")
    if val + test:
        _time_evaluation(trainer, "val" if val >= test else "test", plan.budget.seconds * PROBE_SHARE)
    batches = trainer.train_batches
    part = plan.budget.part(val, test, timer.seconds_per_character, batches.batch_size * batches.seq_length)
    if part is not None and plan.eval_characters is None:
        plan.eval_characters = part
        trainer.tell_event({"event": "evaluation", "characters": part, "of": max(val, test)})
    began = timer.now()
    trainer.sample()
    sampling = timer.now() - began
    timer.seconds_of_evaluation = timer.seconds_per_character * _predicted(trainer, "val") + timer.in_saving + sampling


def refit(trainer: CharRNNTrainer) -> None:
    """Refit the schedule of a timed run if that is due, in every process by the clock of the first."""
    timer, plan, broadcast = trainer.timer, trainer.plan, trainer.group.broadcast
    seconds = broadcast(trainer.seconds)
    if plan.budget is not None and plan.budget.due(seconds, trainer.step, plan.total_steps):
        test = timer.seconds_per_character * _predicted(trainer, "test")
        plan.refit(trainer.step, seconds, *map(broadcast, (timer.seconds_in_steps, timer.seconds_of_evaluation, test)))


def timed_evaluation(trainer: CharRNNTrainer, split: str, characters: int | None) -> Evaluation:
    """Evaluate about so many characters of a split (None: all), and store the seconds of each."""
    began, group = trainer.timer.now(), trainer.group
    progress = partial(trainer.metrics.tell, "on_evaluating", split)
    text, model = trainer.dataloaders[split].split, trainer.stepper.averaging.model
    evaluation = evaluate(model, text, trainer.device, group, characters, progress)
    trainer.timer.seconds_per_character = group.broadcast(trainer.timer.now() - began) / evaluation.characters
    return evaluation


def _predicted(trainer: CharRNNTrainer, split: str) -> int:
    """Return about how many characters of a split an evaluation predicts; 0 without the split."""
    if split not in trainer.dataloaders:
        return 0
    whole = trainer.dataloaders[split].split.predicted
    return min(whole, trainer.plan.eval_characters or whole)


def _time_evaluation(trainer: CharRNNTrainer, split: str, enough: float) -> None:
    """Evaluate ever larger parts of a split until one has taken `enough` seconds, after one to warm up."""
    part = SMALLEST_PART
    timed_evaluation(trainer, split, part)
    while (measured := timed_evaluation(trainer, split, part)).of is not None:
        if trainer.timer.seconds_per_character * measured.characters >= enough:
            return
        part *= 4
