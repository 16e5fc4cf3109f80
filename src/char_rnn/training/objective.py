"""What a step minimizes: the loss, and what is added to it while training so that a model overfits less.

Shapes: B streams (batch), T characters (time), H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from char_rnn.models.base import Activations
from char_rnn.models.layers import TiedProjection
from char_rnn.ops.output_loss import output_loss
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
        projection: the output projection, where predictions are given as what it reads; None for log-probabilities.

    Attributes:
        on_activations: whether it has to be given the activations.
    """

    def __init__(self, training: TrainingConfig, projection: nn.Linear | TiedProjection | None = None) -> None:
        self._projection = projection
        self._smoothing = training.label_smoothing
        self._activation = training.activation_regularization
        self._temporal = training.temporal_activation_regularization
        self.on_activations = self._activation > 0 or self._temporal > 0

    def __call__(
        self, predicted: torch.Tensor, target: torch.Tensor, activations: Activations | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare predictions with what came.

        Args:
            predicted: log-probabilities of every symbol, in nats (B, T, V); or what the projection reads (B, T, H).
            target: ids (B, T).
            activations: of the same characters; needed where ``on_activations``.

        Returns:
            What to minimize, and the mean loss in nats per character alone; the same tensor where nothing is on.
        """
        objective, loss = self._likelihood(predicted, target)
        if activations is not None and self.on_activations:
            # Under autocast they are in half precision, in which squares are too coarse.
            output, dropped = (activation.to(loss.dtype) for activation in activations)
            if self._activation > 0:
                objective = objective + self._activation * dropped.square().mean()
            if self._temporal > 0 and output.shape[1] > 1:
                objective = objective + self._temporal * output.diff(dim=1).square().mean()
        return objective, loss

    def _likelihood(self, predicted: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the smoothed loss and the loss; the same tensor without smoothing."""
        if self._projection is not None:
            return output_loss(predicted, self._projection.weight, self._projection.bias, target, self._smoothing)
        loss = F.nll_loss(predicted.flatten(0, 1), target.flatten())
        return (1 - self._smoothing) * loss - self._smoothing * predicted.mean() if self._smoothing else loss, loss
