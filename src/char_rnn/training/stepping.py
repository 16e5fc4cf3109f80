"""One optimizer step: the gradient of a batch, what is allowed of it, and the update.

Shapes: B streams (batch), T characters (time).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from char_rnn.models import CharModel, detach_state
from char_rnn.training.checkpoints import Hidden
from char_rnn.training.clipping import clip_norm, clip_value, gradient_norm
from char_rnn.training.guard import LossGuard
from char_rnn.training.optimizers import build_optimizer, set_learning_rate
from char_rnn.utils.config import TrainingConfig


class Stepper:
    """Makes the steps of a run.

    Args:
        model: on the device to train on.
        training: the ``training`` section of the run's configuration.
        device: where the model is.

    Attributes:
        optimizer: over all parameters.
        guard: refuses a loss or gradient that would ruin the model.
        gradient_norm: of the last step in which it was measured, before clipping.
    """

    def __init__(self, model: CharModel, training: TrainingConfig, device: torch.device) -> None:
        self.model, self.training, self.device = model, training, device
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(model, training)
        self.guard = LossGuard(training.explosion_factor)
        self.gradient_norm = math.nan

    def step(
        self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden, rate: float, *, measure: bool = False
    ) -> tuple[float, Hidden]:
        """Learn from one batch.

        Args:
            x: input ids (B, T).
            y: target ids (B, T), ``x`` one character later.
            hidden: the state before the first character; None for zeros.
            rate: the learning rate.
            measure: take the gradient's norm even if nothing is clipped.

        Returns:
            The mean loss in nats per character, before the update, and the state after the last character.

        Raises:
            TrainingDiverged: the loss or the gradient has gone astray; no update was made.
        """
        loss, hidden = self.gradient(x, y, hidden)
        self.guard.check(loss)
        self.clip(x.shape[1], measure=measure)
        self.update(rate)
        return loss, hidden

    def gradient(self, x: torch.Tensor, y: torch.Tensor, hidden: Hidden) -> tuple[float, Hidden]:
        """Give the parameters the gradient of a batch's mean loss; see :meth:`step`."""
        log_probs, after = self.model(x.to(self.device, non_blocking=True), hidden)
        target = y.to(self.device, non_blocking=True)
        loss = F.nll_loss(log_probs.flatten(0, 1), target.flatten())
        for parameter in self.parameters:  # what optimizer.zero_grad() does, without its profiler range
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item(), detach_state(after)

    def clip(self, seq_length: int, *, measure: bool = False) -> None:
        """Limit the gradient as configured, and keep the norm it had.

        Raises:
            TrainingDiverged: the norm is not finite.
        """
        limit = self.training.grad_clip
        if limit > 0 and self.training.clip == "norm":
            self.gradient_norm = clip_norm(self.parameters, limit)
        elif limit > 0:
            self.gradient_norm = clip_value(self.parameters, limit, seq_length)
        elif measure:
            self.gradient_norm = gradient_norm(self.parameters)
        else:
            return
        self.guard.check_gradient(self.gradient_norm)

    def update(self, rate: float) -> None:
        """Let the optimizer make its step at a learning rate."""
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
