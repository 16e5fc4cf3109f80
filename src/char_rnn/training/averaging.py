"""The mean of a run's parameters over its steps, which predicts better than the last ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch.optim.swa_utils import AveragedModel

from char_rnn.models import CharModel
from char_rnn.utils.config import TrainingConfig

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class Averaging:
    """Averages the parameters as ``training.averaging`` says.

    - ``polyak``: the mean over all steps after ``averaging_start`` (Polyak and Juditsky 1992).
    - ``ema``: the exponential moving average, e <- d e + (1 - d) w, over the same steps. After n of them d is the
      ``averaging_decay``, but at most (1 + n) / (10 + n), so that the first, untrained parameters do not dominate it
      for long (TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).

    Args:
        model: Model whose parameters are averaged, on its device.
        training: Section ``training`` of the configuration.
        device: Device of the model.

    Attributes:
        mean: The averaged model; None without averaging.
    """

    def __init__(self, model: CharModel, training: TrainingConfig, device: torch.device) -> None:
        self._model, self._start, decay = model, training.averaging_start, training.averaging_decay

        @torch.no_grad()
        def update(means: Tensors, parameters: Tensors, count: torch.Tensor | int) -> None:
            steps = int(count)
            torch._foreach_lerp_(means, parameters, 1 - min(decay, (1 + steps) / (10 + steps)))

        average = update if training.averaging == "ema" else None
        self.mean = AveragedModel(model, multi_avg_fn=average).to(device) if training.averaging != "none" else None

    @property
    def model(self) -> CharModel:
        """The model to evaluate and save: the mean of the parameters once there is one, else the model itself."""
        if self.mean is None or not self.mean.n_averaged:
            return self._model
        return cast("CharModel", self.mean.module)

    def after_step(self, step: int) -> None:
        """Add the parameters after `step` steps to the mean, if averaging has started."""
        if self.mean is not None and step > self._start:
            self.mean.update_parameters(self._model)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the mean and the number of steps in it; empty without averaging."""
        return {} if self.mean is None else self.mean.state_dict()

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `tensors` returned."""
        if self.mean is not None:
            self.mean.load_state_dict(tensors)
