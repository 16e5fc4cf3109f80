"""The steps of a GRU whose reset gate comes before the recurrent product, over buffers made once.

What does not depend on the step before (the slopes of the gates, the gradients of the weights) is one large operation
over all steps, in place where it can be, and the loops hold the rest.

Dimensions: B batch, T time, H hidden; buffers are time-major, so that a step is one block of memory.

With d for "gradient of the loss with respect to", and a_r, a_z, a_n the arguments of the functions of
:class:`char_rnn.cells.GRU`, r, z and n::

    d a_n = d h' (1 - z) (1 - n^2)              d a_z = d h' (h - n) z (1 - z)
    d(rh) = W_hn^T d a_n                        d a_r = d(rh) h r (1 - r)
    d h   = d h' z + d(rh) r + W_hr^T d a_r + W_hz^T d a_z
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def run_steps(gates: Tensor, states: Tensor, reset_states: Tensor, weight_hh: Tensor) -> None:
    """Run the recurrence in place.

    Args:
        gates: (T, B, 3H), holds W_i x + b_i + b_h and becomes r, z, n.
        states: (T + 1, B, H), holds the state before the first step at 0 and is filled.
        reset_states: (T, B, H), filled with r h.
        weight_hh: (3H, H).
    """
    gate_weights, candidate_weights = _rz(weight_hh, 0).t(), weight_hh.chunk(3)[2].t()
    for rz, r, z, n, h, rh, h_next in by_step(_rz(gates), *gates.chunk(3, -1), states[:-1], reset_states, states[1:]):
        rz.addmm_(h, gate_weights).sigmoid_()
        torch.mul(r, h, out=rh)
        n.addmm_(rh, candidate_weights).tanh_()
        torch.lerp(n, h, z, out=h_next)


def slopes(gates: Tensor, before: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the factors that turn d(rh), d h' and d h' into d a_r, d a_z and d a_n, side by side: (T, B, 3H).

    Args:
        gates: (T, B, 3H), r, z and n of every step.
        before: (T, B, H), the state before every step.
        out: where to put them; None makes room.
    """
    r, z, n = gates.chunk(3, -1)
    out = torch.empty_like(gates) if out is None else out
    slope_r, slope_z, slope_n = out.chunk(3, -1)
    torch.mul(torch.addcmul(r, r, r, value=-1), before, out=slope_r)
    torch.mul(torch.addcmul(z, z, z, value=-1), before - n, out=slope_z)
    renewed = 1 - z
    torch.addcmul(renewed, renewed * n, n, value=-1, out=slope_n)
    return out


def run_steps_back(grads: Tensor, gates: Tensor, grad_output: Tensor, weight_hh: Tensor) -> Tensor:
    """Run the recurrence backwards in place and return the gradient of the state before the first step, (B, H).

    Args:
        grads: (T, B, 3H), holds the slopes and becomes d a_r, d a_z, d a_n.
        gates: (T, B, 3H), r, z and n of every step.
        grad_output: (T, B, H), what the loss itself adds to d h' at every step.
        weight_hh: (3H, H).
    """
    r, z, _ = gates.chunk(3, -1)
    gate_weights, candidate_weights = _rz(weight_hh, 0), weight_hh.chunk(3)[2]
    grad = torch.zeros_like(grad_output[0], memory_format=torch.contiguous_format)
    steps = reversed(list(by_step(_rz(grads), *grads.chunk(3, -1), r, z, grad_output)))
    for grad_rz, grad_r, grad_z, grad_n, r_t, z_t, from_loss in steps:
        grad.add_(from_loss)
        grad_n.mul_(grad)
        grad_z.mul_(grad)
        grad_rh = grad_n.mm(candidate_weights)
        grad_r.mul_(grad_rh)
        grad.mul_(z_t).addcmul_(grad_rh, r_t).addmm_(grad_rz, gate_weights)
    return grad


def grad_weight_hh(grads: Tensor, before: Tensor, reset_states: Tensor) -> Tensor:
    """Return the gradient of weight_hh, (3H, H), from d a of (TB, 3H): r and z read h, n reads r h."""
    grads = grads.t()
    return torch.cat([_rz(grads, 0) @ before.flatten(0, 1), grads.chunk(3)[2] @ reset_states.flatten(0, 1)])


def _rz(blocks: Tensor, dim: int = -1) -> Tensor:
    """Return the r and z blocks, of r, z, n side by side, as one view."""
    return blocks.narrow(dim, 0, blocks.shape[dim] // 3 * 2)


def by_step(*buffers: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Go through time-major buffers together. Unbinding makes all views in one call, cheaper than slicing each step."""
    return zip(*(buffer.unbind() for buffer in buffers), strict=True)
