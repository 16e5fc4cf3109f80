"""The mean of a run's parameters over its steps, which predicts better than the last of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from char_rnn.models import CharModel
from char_rnn.utils.config import TrainingConfig

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class Averaging:
    """What ``training.averaging`` asks for.

    - ``polyak``: the mean over all steps after ``averaging_start`` (Polyak and Juditsky 1992).
    - ``ema``: the exponential moving average, e <- d e + (1 - d) w, over the same steps. After n of them d is the
      ``averaging_decay``, but at most (1 + n) / (10 + n): else the first steps, of a model that knows nothing, would
      weigh on it for long (TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).
    - ``nt-asgd``: as polyak, from the step on whose validation loss is above the best of all evaluations but the last
      ``averaging_patience`` (Merity, Keskar and Socher 2018, arXiv 1708.02182, algorithm 1); the parameters of that
      step are the first in the mean.

    Args:
        model: whose parameters are averaged, on its device.
        training: the ``training`` section of the configuration.
        device: where the model is.

    Attributes:
        mean: the averaged model; None where none is asked for.
        evaluations: of nt-asgd, (step, validation loss) up to the one at which the averaging began.
        began: of nt-asgd, the step at which it did; None before.
    """

    def __init__(self, model: CharModel, training: TrainingConfig, device: torch.device) -> None:
        self._model, self._kind, self._start = model, training.averaging, training.averaging_start
        self._patience = training.averaging_patience
        update = _moving(training.averaging_decay) if self._kind == "ema" else None
        self.mean = AveragedModel(model, multi_avg_fn=update).to(device) if self._kind != "none" else None
        self.evaluations: list[tuple[int, float]] = []
        self.began: int | None = None

    @property
    def model(self) -> CharModel:
        """The model to evaluate and keep: the mean of the parameters once there is one, else the model itself."""
        if self.mean is None or not self.mean.n_averaged:
            return self._model
        return cast("CharModel", self.mean.module)

    def after_step(self, step: int) -> None:
        """Add the parameters after ``step`` steps to the mean, where it is asked for and has begun."""
        begun = step > self._start if self._kind != "nt-asgd" else self.began is not None
        if self.mean is not None and begun:
            self.mean.update_parameters(self._model)

    def evaluated(self, step: int, loss: float) -> bool:
        """Take note of the validation loss after ``step`` steps, once for each; tell whether the averaging begins."""
        if self._kind != "nt-asgd" or self.began is not None or step in dict(self.evaluations[-1:]):
            return False
        compared = self.evaluations[: max(0, len(self.evaluations) - self._patience)]
        best = min((earlier for _, earlier in compared), default=math.inf)
        self.evaluations.append((step, loss))
        if step < self._start or loss <= best:
            return False
        self.began = step
        self.after_step(step)
        return True

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the mean and the number of steps in it; empty where none is asked for."""
        return {} if self.mean is None else self.mean.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Return what else there is to know, as JSON can hold it."""
        return {"evaluations": list(self.evaluations), "began": self.began}

    def load_state_dict(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Restore what ``tensors`` and ``state_dict`` returned; the latter is empty in files older than nt-asgd."""
        if self.mean is not None:
            self.mean.load_state_dict(tensors)
        self.evaluations = [(int(step), float(loss)) for step, loss in state.get("evaluations", [])]
        began = state.get("began")
        self.began = None if began is None else int(began)


def _moving(decay: float) -> Callable[[Tensors, Tensors, torch.Tensor | int], None]:
    """Return the update of an exponential moving average: means, parameters, and the steps of averaging before."""

    @torch.no_grad()
    def update(means: Tensors, parameters: Tensors, count: torch.Tensor | int) -> None:
        steps = int(count)
        torch._foreach_lerp_(means, parameters, 1 - min(decay, (1 + steps) / (10 + steps)))

    return update
