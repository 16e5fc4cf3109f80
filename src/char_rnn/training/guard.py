"""Watches the loss, and stops a run before an update that would ruin it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.utils.config import TrainingConfig


class TrainingDiverged(RuntimeError):  # noqa: N818 (an event, as KeyboardInterrupt)
    """The loss became infinite, not a number, or far too large; the parameters were not updated with it."""


# Steps over which the running mean of the loss forgets. With 10 a model that knew the beginning of a text by heart was
# stopped where the text became harder: it needed 20 to 30 steps to fall below three times the uniform loss again.
MEMORY = 50


class LossGuard:
    """Stops a run whose loss stays far above what the model began with and above guessing.

    A single loss may be large because the text became harder. So the running mean is compared, with ``factor`` times
    the first loss or, where that is larger, the uniform loss: a model that knows the beginning of a text by heart has a
    first loss near 0.

    Args:
        factor: Multiple of the larger of the two that is too much; 0 for no such limit.
        uniform: Loss of equally likely symbols, ln V, in nats.

    Attributes:
        first: The first loss, in nats per character; None before it.
        mean: The running mean of the losses; None before the first.
        above: Losses in a row, up to the latest, that were above the limit or not finite.
    """

    def __init__(self, factor: float, uniform: float = 0.0) -> None:
        self.factor, self.uniform = factor, uniform
        self.first: float | None = None
        self.mean: float | None = None
        self.above = 0

    def check_gradient(self, norm: float) -> None:
        """Refuse a gradient whose norm is not finite: clipping by it would turn every parameter into NaN.

        Raises:
            TrainingDiverged: the gradient has overflowed.
        """
        if not math.isfinite(norm):
            raise TrainingDiverged(f"the norm of the gradient is {norm}")

    def check(self, loss: float) -> None:
        """Count a loss; refuse one that is not finite, or that brings the running mean above the limit.

        Raises:
            TrainingDiverged: the loss has exploded.
        """
        if not math.isfinite(loss):
            self.above += 1
            raise TrainingDiverged(f"the loss is {loss}{self._beginning()}")
        if self.first is None:
            self.first = loss
        self._judge(loss, self.first)

    def _judge(self, loss: float, first: float) -> None:
        self.mean = loss if self.mean is None else self.mean + (loss - self.mean) / MEMORY
        limit = self.factor * max(first, self.uniform)
        self.above = self.above + 1 if 0 < limit < loss else 0
        if 0 < limit < self.mean:
            times = "the first loss" if first >= self.uniform else "ln V"
            raise TrainingDiverged(
                f"the running mean of the loss is {self.mean:.4g}, more than {limit:.4g}"
                f" (training.explosion_factor {self.factor:g} times {times})"
            )

    def state(self) -> dict[str, Any]:
        """Return what has been counted, as JSON can hold it."""
        return {"mean": self.mean, "above": self.above}

    def load_state(self, first: float | None, state: Mapping[str, Any]) -> None:
        """Restore the first loss and what ``state`` returned; nothing of that from a file of 1.0."""
        mean = state.get("mean")
        self.first = None if first is None else float(first)
        self.mean, self.above = None if mean is None else float(mean), int(state.get("above", 0))

    def _beginning(self) -> str:
        return "" if self.first is None else f" (the first was {self.first:.4g})"


def advice(training: TrainingConfig) -> str:
    """Return what to change so that a run does not diverge again."""
    clip = f"a lower one (now {training.grad_clip:g})" if training.grad_clip else "5, say (now off)"
    warmup = f", or more training.warmup_steps (now {training.warmup_steps})" if training.trainer == "modern" else ""
    rate = f"a lower training.learning_rate (now {training.learning_rate:g})"
    return f"Try {rate}, or for training.grad_clip {clip}{warmup}"
