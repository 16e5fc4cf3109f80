"""The optimizers of a run.

Limits on the gradient: of its norm, or of each of its elements.

T is the sequence length.


What the kernels in C do with all parameters of a training step at once: the norm of the gradient, and AdamW.

The results are the same bits for any number of threads.
"""

from __future__ import annotations

import ctypes
import inspect
import struct
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from char_rnn.kernels import load, openmp
from char_rnn.utils.config import TrainingConfig

Group = dict[str, Any]


class Optimizer(torch.optim.Optimizer):
    """Base of the optimizers here: a step is on the parameters that have a gradient."""

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, without what keeps the compiler out: that would import it, in a second."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step on every parameter that has a gradient; return the loss of ``closure``, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._step(self.param_groups)
        return loss

    @abstractmethod
    def _step(self, groups: list[Group]) -> None:
        """Make the step."""


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) by the kernels in C.

    It stores what ``torch.optim.AdamW(fused=True)`` stores and makes the same step but for rounding: the correction of
    the second moment is outside its root. Groups may differ in the weight decay alone.

    Args:
        params: groups of parameters, contiguous float32 on the CPU.
        lr: the learning rate.
        betas: decay rates of the means of the gradient and of its square.
        eps: added to the root, to divide by.
        weight_decay: the decoupled weight decay; 0 = none.
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
        self._make = AdamWStep()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled optimizer, or one whose state was loaded."""
        super().__setstate__(state)
        self._make = AdamWStep()

    def _step(self, groups: list[Group]) -> None:
        parameters = [
            (parameter, self._stored(parameter), group["weight_decay"])
            for group in groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if parameters:
            self._make(parameters, groups[0]["lr"], groups[0]["betas"], groups[0]["eps"])

    def _stored(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        stored: dict[str, torch.Tensor] = self.state[parameter]
        if not stored:
            stored["step"] = torch.zeros(())
            stored["exp_avg"] = torch.zeros_like(parameter)
            stored["exp_avg_sq"] = torch.zeros_like(parameter)
        return stored


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012) as the 2015 program has it, in ``optim.rmsprop`` of Torch7.

    With g the gradient, m the running mean of its square, at first 0, and x the parameter::

        m <- a m + (1 - a) g g
        x <- x - lr g / (sqrt(m) + eps)

    There is no bias correction, so the first step is lr / sqrt(1 - a) long in every direction, and eps stands outside
    the root. ``torch.optim.RMSprop`` computes the same; here the operations come in 2015's order, and weight decay, if
    any, is decoupled: x <- x - lr weight_decay x before the step.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        decay_rate: a, from 0 to below 1.
        eps: added to the root, to divide by.
        weight_decay: the decoupled weight decay; 0 = none.
    """

    def __init__(
        self, params: Any, lr: float, decay_rate: float = 0.95, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "decay_rate": decay_rate, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def _step(self, groups: list[Group]) -> None:
        for group in groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._step_of(group, parameters)

    def _step_of(self, group: Group, parameters: list[torch.Tensor]) -> None:
        rate, decay_rate = group["lr"], group["decay_rate"]
        gradients = [parameter.grad for parameter in parameters]
        means = [self._mean_square(parameter) for parameter in parameters]
        foreach: Any = torch
        if group["weight_decay"]:
            foreach._foreach_mul_(parameters, 1.0 - rate * group["weight_decay"])
        foreach._foreach_mul_(means, decay_rate)
        foreach._foreach_addcmul_(means, gradients, gradients, value=1.0 - decay_rate)
        divisors = foreach._foreach_sqrt(means)
        foreach._foreach_add_(divisors, group["eps"])
        foreach._foreach_addcdiv_(parameters, gradients, divisors, value=-rate)

    def _mean_square(self, parameter: torch.Tensor) -> torch.Tensor:
        kept: dict[str, torch.Tensor] = self.state[parameter]
        if "mean_square" not in kept:
            kept["mean_square"] = torch.zeros_like(parameter)
        return kept["mean_square"]


def kept_for_each_parameter(config: TrainingConfig) -> tuple[str, ...]:
    """Return the names of what the optimizer keeps for each parameter once it has made a step."""
    if config.optimizer == "sgd":
        return ("momentum_buffer",) if config.momentum else ()
    return ("mean_square",) if config.optimizer == "rmsprop" else ("step", "exp_avg", "exp_avg_sq")


def build_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the configured optimizer over all parameters.

    AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), RMSprop, or stochastic gradient descent with momentum
    (Sutskever et al. 2013; the weight decay there is part of the gradient). Weight decay pulls on matrices alone: on
    biases it costs accuracy and regularizes nothing.
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
    if all(p.is_contiguous() for p in parameters) and can_run(parameters):
        return AdamW(groups, lr=config.learning_rate, betas=config.adam_betas)
    fused = all(p.device.type in {"cpu", "cuda", "mps"} and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.adam_betas, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradient_norm(parameters: Sequence[torch.Tensor]) -> float:
    """Return the Euclidean norm of the whole gradient."""
    gradients = _gradients(parameters)
    return norm(gradients) if can_run(gradients) else float(torch.nn.utils.get_total_norm(gradients))


def clip_norm(parameters: Sequence[torch.Tensor], limit: float) -> float:
    """Scale the gradient down to the norm ``limit`` where it is longer (Pascanu et al. 2013, arXiv 1211.5063).

    The factor is that of ``torch.nn.utils.clip_grad_norm_``, which has 1e-6 in the divisor.

    Returns:
        The norm before.
    """
    norm = gradient_norm(parameters)
    factor = limit / (norm + 1e-6)
    if not factor >= 1:  # a NaN too
        foreach: Any = torch
        foreach._foreach_mul_(_gradients(parameters), factor)
    return norm


def _gradients(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def clip_value(parameters: Sequence[torch.Tensor], limit: float, seq_length: int) -> float:
    """Clamp every element of the gradient as the 2015 program does.

    That program's gradient is the sum over the T characters of a sequence; here the loss, and with it the gradient, is
    the mean over them. So what it clamps to +-limit is clamped to +-limit / T here: the same elements, to the same
    share.

    Returns:
        The norm before.
    """
    norm = gradient_norm(parameters)
    torch.nn.utils.clip_grad_value_(parameters, limit / seq_length)
    return norm


Address = int


def can_run(tensors: Sequence[Tensor]) -> bool:
    """Whether the kernels are there, and take such tensors."""
    return load() is not None and all(tensor.is_cpu and tensor.dtype is torch.float32 for tensor in tensors)


def norm(gradients: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all gradients together."""
    kernels = load()
    assert kernels is not None
    kernels.optimizer_norm.restype = ctypes.c_double
    whole = [gradient.contiguous() for gradient in gradients]
    fields = [field for gradient in whole for field in (0, gradient.data_ptr(), 0, 0, 0, gradient.numel(), 0)]
    found: float = kernels.optimizer_norm(*_parameters(fields), *_threads())
    if found < 0:
        raise MemoryError("not enough memory for the gradient's norm")
    return found


class AdamWStep:
    """Makes steps of AdamW in place, on contiguous float32 parameters on the CPU."""

    def __init__(self) -> None:
        self._checked: set[tuple[Address, ...]] = set()

    def __call__(
        self,
        parameters: Sequence[tuple[Tensor, Mapping[str, Tensor], float]],
        rate: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        """Make a step on parameters that have a gradient.

        Args:
            parameters: each with what ``torch.optim.AdamW`` stores of it and its weight decay.
            rate: the learning rate.
            betas: see ``torch.optim.AdamW``.
            eps: see there.

        Raises:
            ValueError: what is stored is not contiguous float32 of the parameter's size.
        """
        kernels = load()
        assert kernels is not None
        fields, gradients = [], []
        for parameter, stored, weight_decay in parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad.contiguous())  # and alive until the end
            address, *others = self._addresses(parameter, stored)
            fields += [address, gradients[-1].data_ptr(), *others, parameter.numel(), _bits(weight_decay)]
        numbers = map(ctypes.c_double, (rate, *betas, eps))
        kernels.optimizer_adamw(*_parameters(fields), *numbers, *_threads())
        torch.autograd.graph.increment_version([parameter for parameter, _, _ in parameters])

    def _addresses(self, parameter: Tensor, stored: Mapping[str, Tensor]) -> tuple[Address, ...]:
        """Return where a parameter and what is stored of it are in memory; check them when they are new there."""
        arrays = (parameter, stored["exp_avg"], stored["exp_avg_sq"], stored["step"])
        addresses = tuple([array.data_ptr() for array in arrays])
        if addresses not in self._checked:
            sizes = (*[parameter.numel()] * 3, 1)
            if not all(
                can_run([a]) and a.is_contiguous() and a.numel() == n for a, n in zip(arrays, sizes, strict=True)
            ):
                raise ValueError(
                    "AdamW's state does not fit its parameter; give contiguous float32 tensors of its size"
                )
            self._checked.add(addresses)
        return addresses


def _parameters(fields: Sequence[int]) -> tuple[ctypes.Array[ctypes.c_int64], ctypes.c_int64]:
    """Return ``trained_parameter``s (``char_rnn/kernels/optimizer.h``), seven fields each, and how many they are."""
    return (ctypes.c_int64 * len(fields))(*fields), ctypes.c_int64(len(fields) // 7)


def _threads() -> tuple[ctypes.c_int64, ctypes.c_void_p | None]:
    """Return the last two arguments of every pass."""
    return ctypes.c_int64(torch.get_num_threads()), openmp()


def _bits(number: float) -> int:
    """Return a double's bits, as a field of ``trained_parameter`` beside addresses."""
    bits: int = struct.unpack("q", struct.pack("d", number))[0]
    return bits
