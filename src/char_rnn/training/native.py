"""What the kernels in C do with all parameters of a training step at once: the norm of the gradient, and AdamW.

The results are the same bits for any number of threads.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from char_rnn.kernels import load, openmp

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
