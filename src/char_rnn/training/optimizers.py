"""Optimizers, the norm and clipping of gradients, and the averaging of parameters; in C where the kernels can run.

The results of the kernels are the same bits for any number of threads.
"""

from __future__ import annotations

import ctypes
import inspect
import struct
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from char_rnn.kernels import load, openmp
from char_rnn.models import CharModel
from char_rnn.utils.config import TrainingConfig

Group = dict[str, Any]


class Optimizer(torch.optim.Optimizer):
    """Base of the optimizers here."""

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters without PyTorch's wrapper, which imports the compiler and takes a second."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) by the kernels in C.

    It stores what ``torch.optim.AdamW(fused=True)`` stores and computes the same update, except for rounding: the
    correction of the second moment is outside its root. Parameters are contiguous float32 on the CPU; groups may differ
    only in the weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._checked: set[tuple[int, ...]] = set()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled optimizer, or a loaded state."""
        super().__setstate__(state)
        self._checked = set()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; no closure is called.

        Raises:
            ValueError: A stored tensor is not contiguous float32 of its parameter's size.
        """
        fields: list[int] = []
        parameters, gradients = [], []
        for group in self.param_groups:
            (decay,) = struct.unpack("q", struct.pack("d", group["weight_decay"]))  # the bits of a double field
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameters.append(parameter)
                gradients.append(parameter.grad.contiguous())  # kept alive until the kernel has run
                address, *others = self._addresses(parameter)
                fields += [address, gradients[-1].data_ptr(), *others, parameter.numel(), decay]
        if parameters:
            group = self.param_groups[0]  # as the others, except for the decay
            numbers = group["lr"], *group["betas"], group["eps"]
            load().optimizer_adamw(*_parameters(fields), *numbers, torch.get_num_threads(), openmp())
            torch.autograd.graph.increment_version(parameters)

    def _addresses(self, parameter: Tensor) -> tuple[int, ...]:
        """Return the addresses of a parameter, its stored means and its step count; check tensors not seen before."""
        stored: dict[str, Tensor] = self.state[parameter]
        if not stored:
            stored["step"] = torch.zeros(())
            stored["exp_avg"], stored["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        arrays = (parameter, stored["exp_avg"], stored["exp_avg_sq"], stored["step"])
        addresses = tuple([array.data_ptr() for array in arrays])
        if addresses not in self._checked:
            sizes = (*[parameter.numel()] * 3, 1)
            fits = [a.is_contiguous() and a.numel() == size for a, size in zip(arrays, sizes, strict=True)]
            if not all(fits) or not _kernels_can_run(arrays):
                raise ValueError(
                    "AdamW's state does not fit its parameter; give contiguous float32 tensors of its size"
                )
            self._checked.add(addresses)
        return addresses


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012) as in the 2015 program: ``optim.rmsprop`` of Torch7.

    With g the gradient, m the running mean of its square, initially 0, a the ``decay_rate``, and x the parameter::

        m <- a m + (1 - a) g g
        x <- x - lr g / (sqrt(m) + eps)

    There is no bias correction, so the first step has length lr / sqrt(1 - a) in every direction, and eps is outside
    the root. ``torch.optim.RMSprop`` computes the same; here the operations have the order of 2015, and weight decay,
    if any, is decoupled: x <- x - lr weight_decay x before the step.
    """

    def __init__(
        self, params: Any, lr: float, decay_rate: float = 0.95, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "decay_rate": decay_rate, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; no closure is called."""
        foreach: Any = torch
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            rate, decay_rate, gradients = group["lr"], group["decay_rate"], _gradients(parameters)
            means = [self._mean_square(parameter) for parameter in parameters]
            if group["weight_decay"]:
                foreach._foreach_mul_(parameters, 1.0 - rate * group["weight_decay"])
            foreach._foreach_mul_(means, decay_rate)
            foreach._foreach_addcmul_(means, gradients, gradients, value=1.0 - decay_rate)
            divisors = foreach._foreach_sqrt(means)
            foreach._foreach_add_(divisors, group["eps"])
            foreach._foreach_addcdiv_(parameters, gradients, divisors, value=-rate)

    def _mean_square(self, parameter: Tensor) -> Tensor:
        stored: dict[str, Tensor] = self.state[parameter]
        if "mean_square" not in stored:
            stored["mean_square"] = torch.zeros_like(parameter)
        return stored["mean_square"]


def stored_per_parameter(config: TrainingConfig) -> tuple[str, ...]:
    """Return the names of the tensors that the optimizer stores for each parameter after a step."""
    if config.optimizer == "sgd":
        return ("momentum_buffer",) if config.momentum else ()
    return ("mean_square",) if config.optimizer == "rmsprop" else ("step", "exp_avg", "exp_avg_sq")


def build_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the configured optimizer of all parameters.

    AdamW, RMSprop, or stochastic gradient descent with momentum (Sutskever et al. 2013), whose weight decay is part of
    the gradient. Weight decay applies to matrices only: on biases it costs accuracy and regularizes nothing.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "rmsprop":
        return RMSprop(groups, lr=config.learning_rate, decay_rate=config.decay_rate)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    if all(p.is_contiguous() for p in parameters) and _kernels_can_run(parameters):
        return AdamW(groups, lr=config.learning_rate, betas=config.adam_betas)
    fused = all(p.device.type in {"cpu", "cuda", "mps"} and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.adam_betas, fused=fused)


def gradient_norm(parameters: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of the whole gradient."""
    gradients = _gradients(parameters)
    if not _kernels_can_run(gradients):
        return float(torch.nn.utils.get_total_norm(gradients))
    whole = [gradient.contiguous() for gradient in gradients]
    fields = [field for gradient in whole for field in (0, gradient.data_ptr(), 0, 0, 0, gradient.numel(), 0)]
    norm: float = load().optimizer_norm(*_parameters(fields), torch.get_num_threads(), openmp())
    if norm < 0:
        raise MemoryError("not enough memory for the gradient's norm")
    return norm


def clip_norm(parameters: Sequence[Tensor], limit: float) -> float:
    """Scale the gradient down to the norm `limit` if it is longer (Pascanu et al. 2013, arXiv 1211.5063).

    The factor is that of ``torch.nn.utils.clip_grad_norm_``, with 1e-6 in the divisor. Returns the norm before.
    """
    norm = gradient_norm(parameters)
    factor = limit / (norm + 1e-6)
    if not factor >= 1:  # also for NaN
        foreach: Any = torch
        foreach._foreach_mul_(_gradients(parameters), factor)
    return norm


def clip_value(parameters: Sequence[Tensor], limit: float, seq_length: int) -> float:
    """Clamp every element of the gradient as the 2015 program does; return the norm before.

    In that program the gradient is the sum over the T characters of a sequence; here the loss and its gradient are the
    mean over them. So limits of +-limit there are +-limit / T here: they clamp the same elements to the same share.
    """
    norm = gradient_norm(parameters)
    torch.nn.utils.clip_grad_value_(parameters, limit / seq_length)
    return norm


class Averaging:
    """Averages the parameters by the method of ``training.averaging``.

    - ``polyak``: the mean over all steps after ``averaging_start`` (Polyak and Juditsky 1992).
    - ``ema``: the exponential moving average, e <- d e + (1 - d) w, over the same steps. After n of them d is the
      ``averaging_decay``, but at most (1 + n) / (10 + n), so that the first, untrained parameters do not dominate it
      for long (TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).

    Attributes:
        mean: The averaged model; None without averaging.
    """

    def __init__(self, model: CharModel, training: TrainingConfig, device: torch.device) -> None:
        self._model, self._training = model, training
        self.mean = AveragedModel(model).to(device) if training.averaging != "none" else None
        if self.mean is not None:
            self.mean.n_averaged = self.mean.n_averaged.cpu()  # reading it must not wait for the device

    @property
    def model(self) -> CharModel:
        """The model to evaluate and save: the mean of the parameters once there is one, else the model itself."""
        if self.mean is None or not self.mean.n_averaged:
            return self._model
        return cast("CharModel", self.mean.module)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Add the parameters after `step` steps to the mean, if averaging has started."""
        if self.mean is not None and step > self._training.averaging_start:
            means: list[Tensor] = list(self.mean.module.parameters())
            parameters: list[Tensor] = list(self._model.parameters())
            torch._foreach_lerp_(means, parameters, self._weight(self.mean.n_averaged))
            self.mean.n_averaged += 1

    def _weight(self, count: Tensor) -> float:
        """Return the weight of the present parameters in the mean, of `count` others."""
        steps = int(count)
        if self._training.averaging == "ema" and steps:
            return 1 - min(self._training.averaging_decay, (1 + steps) / (10 + steps))
        return 1 / (1 + steps)

    def tensors(self) -> dict[str, Tensor]:
        """Return the mean and the number of steps in it; empty without averaging."""
        return {} if self.mean is None else self.mean.state_dict()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` returned."""
        if self.mean is not None:
            self.mean.load_state_dict(tensors)


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _kernels_can_run(tensors: Sequence[Tensor]) -> bool:
    return load() is not None and all(tensor.is_cpu and tensor.dtype is torch.float32 for tensor in tensors)


def _parameters(fields: Sequence[int]) -> tuple[ctypes.Array[ctypes.c_int64], int]:
    """Return ``trained_parameter`` structures (``char_rnn/kernels/optimizer.h``), seven fields each, and the length."""
    return (ctypes.c_int64 * len(fields))(*fields), len(fields) // 7
