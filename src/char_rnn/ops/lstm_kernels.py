"""The steps of :mod:`char_rnn.ops.lstm_options` by the kernels in C: all but the matrix products in one call a step.

Dimensions: B batch, T time, H hidden.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from char_rnn.kernels import load
from char_rnn.ops.time_major import by_step, by_step_back

_FIELDS = (
    "batch! width! gain_hh gain_c bias_c arguments product mean rstd mean_c rstd_c h c gates new_c squashed k_h k_c"
    " k_h_step! k_h_row! k_h_unit! k_c_step! k_c_row! k_c_unit! from_loss from_loss_step! from_loss_row! grad_h grad_c"
    " grad_arguments grad_product grad_gain_hh grad_gain_c grad_bias_c scratch"
)

_STRIDED = {"k_h", "k_c", "from_loss"}
"""Arrays that are (T, B, H) by strides of their own; the others are whole."""


class Pass(ctypes.Structure):
    """``lstm_pass`` of ``char_rnn/kernels/lstm.h``; the fields with a ! are numbers, the others arrays."""

    _fields_ = tuple(
        (name.rstrip("!"), ctypes.c_int64 if name.endswith("!") else ctypes.c_void_p) for name in _FIELDS.split()
    )


def can_run(*tensors: Tensor | None) -> bool:
    """Whether the kernels are there, and take such tensors."""
    given = [tensor for tensor in tensors if tensor is not None]
    return load() is not None and all(tensor.is_cpu and tensor.dtype == torch.float32 for tensor in given)


def forth(weight_hh: Tensor, **arrays: Tensor | None) -> None:
    """Run all steps.

    Args:
        weight_hh: U, (4H, H).
        arrays: What ``lstm_pass`` has for the way forth, by its names; None where there is none.
    """
    kernels, of_pass, kept = _pass(arrays)
    transposed = weight_hh.t()
    buffers = (kept["arguments"], kept["h"][:-1], kept.get("product"), kept["gates"])
    for step, (a, h, product, gates) in enumerate(by_step(*buffers)):
        if product is None:
            torch.addmm(a, h, transposed, out=gates)
        else:
            torch.mm(h, transposed, out=product)
        kernels.lstm_step(of_pass, step)


def back(weight_hh: Tensor, **arrays: Tensor | None) -> tuple[Tensor | None, ...]:
    """Run all steps back.

    Args:
        weight_hh: U, (4H, H).
        arrays: What ``lstm_pass`` has for the way back, but for the gradients of the gains and the scratch.

    Returns:
        The gradients of gain_hh, gain_c and bias_c; None where nothing is normalized.
    """
    gain_hh, gain_c = arrays["gain_hh"], arrays["gain_c"]
    grads = [None if gain is None else torch.zeros_like(gain) for gain in (gain_hh, gain_c, gain_c)]
    of_gains = dict(zip(("grad_gain_hh", "grad_gain_c", "grad_bias_c"), grads, strict=True))
    scratch = weight_hh.new_empty(3 * weight_hh.shape[1])
    kernels, of_pass, kept = _pass({**arrays, **of_gains, "scratch": scratch})
    products = kept["grad_product"]
    for step, (product,) in zip(reversed(range(len(products))), by_step_back(products), strict=True):
        kernels.lstm_step_back(of_pass, step)
        kept["grad_h"].addmm_(product, weight_hh)
    return tuple(grads)


def _pass(arrays: dict[str, Tensor | None]) -> tuple[ctypes.CDLL, Any, dict[str, Tensor]]:
    """Return the kernels, a pass by reference, and the arrays it points to, which are to live as long."""
    kernels = load()
    assert kernels is not None
    kernels.lstm_step.argtypes = kernels.lstm_step_back.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    given = {name: array for name, array in arrays.items() if array is not None}
    kept = {name: array if name in _STRIDED else array.contiguous() for name, array in given.items()}
    for name in _STRIDED & kept.keys():
        kept[name] = _usable(kept[name].expand_as(kept["new_c"]), repeats=name != "from_loss")
    fields: dict[str, int] = {name: array.data_ptr() for name, array in kept.items()}
    fields["batch"], fields["width"] = kept["new_c"].shape[-2:]
    for name in _STRIDED & kept.keys():
        fields[f"{name}_step"], fields[f"{name}_row"], unit = kept[name].stride()
        if name != "from_loss":
            fields[f"{name}_unit"] = unit
    return kernels, ctypes.byref(Pass(**fields)), kept


def _usable(array: Tensor, *, repeats: bool) -> Tensor:
    """Return an array (T, B, H) whose units are neighbours or, where that is allowed, one number; else a copy of it."""
    unit = array.stride(-1)
    return array if unit == 1 or (repeats and unit == 0) else array.contiguous()
