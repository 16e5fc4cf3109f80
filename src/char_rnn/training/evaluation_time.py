"""Plans the evaluations of a timed run before its first step: what one takes, and how much of a split it may read.

Without it the first evaluation of a large text, which may be the last, takes many times the minutes asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from char_rnn.training.plan import SMALLEST_PART

if TYPE_CHECKING:
    from char_rnn.training.trainer import CharRNNTrainer

# Share of the time after which a part of an evaluation has taken long enough to tell the speed.
PROBE_SHARE = 0.01


def plan_evaluations(trainer: CharRNNTrainer) -> None:
    """Time a part of an evaluation, a checkpoint and a sample; limit evaluations where whole splits take too long.

    Args:
        trainer: Of a run with a time budget. Its stopwatch gets the seconds of an evaluation, its plan the number of
            characters.
    """
    stopwatch, plan = trainer.stopwatch, trainer.plan
    assert plan.budget is not None
    val, test = trainer.predicted("val"), trainer.predicted("test")
    if val + test:
        _time_evaluation(trainer, "val" if val >= test else "test", plan.budget.seconds * PROBE_SHARE)
    batches = trainer.train_batches
    part = plan.budget.part(val, test, stopwatch.per_character, batches.batch_size * batches.seq_length)
    if part is not None and plan.eval_characters is None:
        plan.eval_characters = part
        trainer.tell_event({"event": "evaluation", "characters": part, "of": max(val, test)})
    began = stopwatch.now()
    trainer.sample()
    writing = stopwatch.now() - began
    stopwatch.in_evaluation = stopwatch.per_character * trainer.predicted("val") + stopwatch.in_saving + writing


def _time_evaluation(trainer: CharRNNTrainer, split: str, enough: float) -> None:
    """Evaluate ever larger parts of a split until one has taken ``enough`` seconds, after one that warms up."""
    part = SMALLEST_PART
    trainer.measure(split, part)
    while (measured := trainer.measure(split, part)).of is not None:
        if trainer.stopwatch.per_character * measured.characters >= enough:
            return
        part *= 4
