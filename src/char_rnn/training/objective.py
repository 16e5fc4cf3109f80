"""What a step minimizes: the loss, and what is added to it while training so that a model overfits less.

Shapes: B streams (batch), T characters (time), H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from char_rnn.models.base import Activations
from char_rnn.utils.config import TrainingConfig


class Objective:
    """The negative log-likelihood, and the regularizers that are on.

    With e the ``label_smoothing``, a target is the character with a weight of 1 - e, and every symbol with e / V
    (Szegedy et al. 2016, arXiv 1512.00567, section 7)::

        (1 - e) mean(-log p[target]) + e mean(-log p)

    Added to it are, of the top recurrent layer's output h (B, T, H), m its dropout mask (Merity, McCann and Socher
    2017, arXiv 1708.01009)::

        activation_regularization           mean((m * h)^2)
        temporal_activation_regularization  mean((h[:, 1:] - h[:, :-1])^2)

    All are means over the rows of a batch: those of its parts, weighted by their rows, add up to that of the whole.

    Args:
        training: the ``training`` section of the configuration.

    Attributes:
        on_activations: whether it has to be given the activations.
    """

    def __init__(self, training: TrainingConfig) -> None:
        self._smoothing = training.label_smoothing
        self._activation = training.activation_regularization
        self._temporal = training.temporal_activation_regularization
        self.on_activations = self._activation > 0 or self._temporal > 0

    def __call__(
        self, log_probs: torch.Tensor, target: torch.Tensor, activations: Activations | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare predictions with what came.

        Args:
            log_probs: of every symbol, in nats (B, T, V).
            target: ids (B, T).
            activations: of the same characters; needed where ``on_activations``.

        Returns:
            What to minimize, and the mean loss in nats per character alone; the same tensor where nothing is on.
        """
        loss = F.nll_loss(log_probs.flatten(0, 1), target.flatten())
        objective = loss
        if self._smoothing > 0:
            objective = (1 - self._smoothing) * loss - self._smoothing * log_probs.mean()
        if activations is not None and self.on_activations:
            # Under autocast they are in half precision, in which squares are too coarse.
            output, dropped = (activation.to(log_probs.dtype) for activation in activations)
            if self._activation > 0:
                objective = objective + self._activation * dropped.square().mean()
            if self._temporal > 0 and output.shape[1] > 1:
                objective = objective + self._temporal * output.diff(dim=1).square().mean()
        return objective, loss
