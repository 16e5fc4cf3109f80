"""The training objective, and the guard that ends a run before its loss ruins the model.

Shapes: B streams (batch), T characters (time), H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from char_rnn.models.char_model import Activations
from char_rnn.models.layers import TiedProjection
from char_rnn.ops.output_loss import SoftTargets, cross_entropy, output_loss
from char_rnn.utils.config import TrainingConfig

MEMORY = 50
"""Steps over which the running mean of the loss forgets.

With 10, a model that had memorized the beginning of a text was stopped where the text became harder: it needed 20 to 30
steps to fall below three times the uniform loss again."""


class Objective:
    """The negative log-likelihood and the configured regularizers.

    With e the ``label_smoothing``, a target is the character with a weight of 1 - e, and every symbol with e / V
    (Szegedy et al. 2016, arXiv 1512.00567, section 7)::

        (1 - e) mean(-log p[target]) + e mean(-log p)

    With teachers, this is mixed with the cross-entropy of their predictions (:mod:`char_rnn.ops.output_loss`).

    The regularizers, with h the top recurrent layer's output (B, T, H) and m its dropout mask (Merity, McCann and
    Socher 2017, arXiv 1708.01009), are::

        activation_regularization           mean((m * h)^2)
        temporal_activation_regularization  mean((h[:, 1:] - h[:, :-1])^2)

    All are means over the rows of a batch, so those of its parts, weighted by their rows, sum to that of the whole.
    """

    def __init__(self, training: TrainingConfig, projection: nn.Linear | TiedProjection | None = None) -> None:
        self._projection, self._smoothing = projection, training.label_smoothing
        self._activation = training.activation_regularization
        self._temporal = training.temporal_activation_regularization

    def __call__(
        self,
        predicted: torch.Tensor,
        target: torch.Tensor,
        activations: Activations | None = None,
        soft: SoftTargets | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the objective and the loss.

        Args:
            predicted: Log-probabilities of every symbol in nats (B, T, V), or the input of the projection (B, T, H).
            target: Ids (B, T).
            activations: Activations of the same characters; needed by the regularizers.
            soft: Predictions of teachers for the same characters.

        Returns:
            The objective to minimize and the mean loss in nats per character; the same tensor without regularizers.
        """
        if self._projection is None:
            objective, loss = cross_entropy(predicted, target, self._smoothing, soft)
        else:
            weight, bias = self._projection.weight, self._projection.bias
            objective, loss = output_loss(predicted, weight, bias, target, self._smoothing, soft)
        if activations is not None and (self._activation or self._temporal):
            # Under autocast the activations are in half precision, in which squares are too coarse.
            output, dropped = (activation.to(loss.dtype) for activation in activations)
            if self._activation > 0:
                objective = objective + self._activation * dropped.square().mean()
            if self._temporal > 0 and output.shape[1] > 1:
                objective = objective + self._temporal * output.diff(dim=1).square().mean()
        return objective, loss


class TrainingDiverged(RuntimeError):  # noqa: N818 (an event, as KeyboardInterrupt)
    """The loss is infinite, NaN or far too large; the parameters were not updated with it."""


class LossGuard:
    """Ends a run whose loss stays far above both its first loss and the uniform loss.

    A single large loss may only mean that the text became harder, so the guard compares the running mean. Its limit is
    ``factor`` times the first loss or the uniform loss, whichever is larger: the first loss of a model that has
    memorized the beginning of a text is near 0. A factor of 0 is no limit; the uniform loss is ln V.

    Attributes:
        first: First loss, in nats per character; None before it.
        mean: Running mean of the losses; None before the first.
        above: Consecutive losses, up to the latest, that were above the limit or not finite.
    """

    def __init__(self, factor: float, uniform: float = 0.0) -> None:
        self.factor, self.uniform = factor, uniform
        self.first: float | None = None
        self.mean: float | None = None
        self.above = 0

    def check_gradient(self, norm: float) -> None:
        """Raise TrainingDiverged if the gradient's norm is not finite: clipping by it would make all parameters NaN."""
        if not math.isfinite(norm):
            raise TrainingDiverged(f"the norm of the gradient is {norm}")

    def check(self, loss: float) -> None:
        """Count a loss; raise TrainingDiverged if it is not finite or brings the running mean above the limit."""
        if not math.isfinite(loss):
            self.above += 1
            first = "" if self.first is None else f" (the first was {self.first:.4g})"
            raise TrainingDiverged(f"the loss is {loss}{first}")
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

    def state_dict(self) -> dict[str, Any]:
        """Return the counters as JSON values."""
        return {"mean": self.mean, "above": self.above}

    def load_state_dict(self, first: float | None, state: Mapping[str, Any]) -> None:
        """Restore the first loss and what `state_dict` returned."""
        self.first, self.mean, self.above = first, state["mean"], state["above"]


def advice(training: TrainingConfig) -> str:
    """Return the settings to change so that a run does not diverge again."""
    clip = f"a lower training.grad_clip (now {training.grad_clip:g})"
    options = [
        f"a lower training.learning_rate (now {training.learning_rate:g})",
        clip if training.grad_clip else "training.grad_clip 5 (now off)",
    ]
    if training.trainer == "modern":
        options.append(f"more training.warmup_steps (now {training.warmup_steps})")
    return f"Try {', '.join(options[:-1])} or {options[-1]}"
