"""Watches the loss, and stops a run before an update that would ruin it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from char_rnn.utils.config import TrainingConfig


class TrainingDiverged(RuntimeError):  # noqa: N818 (an event, as KeyboardInterrupt)
    """The loss became infinite, not a number, or far larger than the first; the parameters were not updated with it."""


class LossGuard:
    """Compares each loss with the first one (the rule of 2015's train.lua, and NaN besides).

    Args:
        factor: how many times the first loss is too much; 0 for no such limit.

    Attributes:
        first: the first loss, in nats per character; None before it.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.first: float | None = None

    def check_gradient(self, norm: float) -> None:
        """Refuse a gradient whose norm is not finite: clipping by it would turn every parameter into NaN.

        Raises:
            TrainingDiverged: the gradient has overflowed.
        """
        if not math.isfinite(norm):
            raise TrainingDiverged(f"the norm of the gradient is {norm}")

    def check(self, loss: float) -> None:
        """Remember the first loss; refuse one that is not finite, or larger than ``factor`` times the first.

        Raises:
            TrainingDiverged: the loss has gone astray.
        """
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the loss is {loss}{self._beginning()}")
        if self.first is None:
            self.first = loss
        if self.factor > 0 and loss > self.factor * self.first:
            raise TrainingDiverged(
                f"the loss is {loss:.4g}, more than {self.factor:g} times the first, {self.first:.4g}"
            )

    def _beginning(self) -> str:
        return "" if self.first is None else f" (the first was {self.first:.4g})"


def advice(training: TrainingConfig) -> str:
    """Return what to change so that a run does not diverge again."""
    clip = f"a lower one (now {training.grad_clip:g})" if training.grad_clip else "5, say (now off)"
    warmup = f", or more training.warmup_steps (now {training.warmup_steps})" if training.trainer == "modern" else ""
    rate = f"a lower training.learning_rate (now {training.learning_rate:g})"
    return f"Try {rate}, or for training.grad_clip {clip}{warmup}"
