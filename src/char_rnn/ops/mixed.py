"""What the layers with matrix products in a low-precision type share.

Processors with instructions for bfloat16 multiply its matrices more than twice as fast as float32's. PyTorch's
recurrent kernels under autocast gain less, and keep their state in the low-precision type too, where small changes are
lost. The layers beside this file are made of tensor operations, with back-propagation through time written by hand:
the products with the input and the gradients of the weights are one large operation over all steps, and the loops hold
the rest, a step at a time while it is in the processor's cache. Weights are cast once a pass. The products round their
results to the low-precision type; what is added to them, the gates, the state and the sums of gradients over time are
in the parameters' type. Backward, the gates are computed again from their arguments, which are kept in the low-
precision type: on a CPU, filling new memory costs more than a sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Layer = Callable[..., tuple[Tensor, ...]]


def products_dtype(weight: Tensor) -> torch.dtype | None:
    """Return the type in which autocast wants the products with a weight; None where it wants no other."""
    device = weight.device.type
    if weight.dtype != torch.float32 or not torch.amp.is_autocast_available(device):
        return None
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def in_bfloat16(layer: Layer, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Run a layer's own kernel on tensors cast to bfloat16.

    Autocast over PyTorch's recurrent kernels on CUDA casts to float16, whatever type it is asked for.
    """
    with torch.autocast(tensors[0].device.type, enabled=False):
        return layer(*(tensor.to(torch.bfloat16) for tensor in tensors))


def from_next(grad_output: Tensor) -> Tensor:
    """Return, time-major, what the loss itself adds to the gradient of the state before every step: (T, B, H).

    It is that of the output of the step before, and nothing before the first.
    """
    return torch.cat([torch.zeros_like(grad_output[:1]), grad_output[:-1]])
