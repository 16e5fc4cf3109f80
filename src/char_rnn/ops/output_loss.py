"""The output projection and the loss of its predictions; the forward pass also computes the gradient of the scores.

Dimensions: B batch, T time, H hidden, V vocabulary, N = B T.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from char_rnn.kernels import load, openmp

FEWEST_SCORES = 1 << 16
"""For fewer scores of a batch, PyTorch's functions take less time than a custom one."""


class SoftTargets(NamedTuple):
    """Predictions of other models for the same characters, to learn from besides the text.

    Attributes:
        probabilities: q, (B, T, V).
        weight: w, from 0 to 1.
        temperature: T of the softmax that made q.
    """

    probabilities: Tensor
    weight: float
    temperature: float = 1.0

    def part(self, rows: slice, device: torch.device) -> SoftTargets:
        """Return those of some rows of the batch, on a device."""
        return self._replace(probabilities=self.probabilities[rows].to(device))


def cross_entropy(
    log_probs: Tensor, target: Tensor, smoothing: float = 0.0, soft: SoftTargets | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the objective and the loss of log-probabilities, (B, T, V); see :func:`output_loss_reference`."""
    loss = F.nll_loss(log_probs.flatten(0, 1), target.flatten())
    objective = (1 - smoothing) * loss - smoothing * log_probs.mean() if smoothing else loss
    if soft is not None:
        q, weight, temperature = soft
        softened = log_probs if temperature == 1 else F.log_softmax(log_probs / temperature, dim=-1)
        of_soft = -(q.to(log_probs.dtype) * softened).sum(-1).mean()
        objective = (1 - weight) * objective + weight * temperature**2 * of_soft
    return objective, loss


def output_loss_reference(
    x: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float = 0.0, soft: SoftTargets | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy of a projection's predictions with the text and with other models' predictions.

    Args:
        x: Input of the projection, (B, T, H).
        weight: (V, H).
        bias: (V,).
        target: Ids, (B, T).
        smoothing: e, the fraction of each target that is spread evenly over the vocabulary.
        soft: Predictions q of other models at the temperature T, with the weight w.

    Returns:
        The objective and mean(-log p[target]), in nats; the same tensor without `smoothing` and `soft`. The objective
        is (1 - e) mean(-log p[target]) + e mean(-log p); with `soft` it is 1 - w times that, plus w T^2 times the mean
        of sum(-q log softmax(log p / T)) (Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2).
    """
    log_probs = F.log_softmax(F.linear(x, weight, bias), dim=-1, dtype=bias.dtype)
    return cross_entropy(log_probs, target, smoothing, soft)


def output_loss(
    x: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float = 0.0, soft: SoftTargets | None = None
) -> tuple[Tensor, Tensor]:
    """Compute :func:`output_loss_reference` with the kernels in C where they can run.

    They need float32 parameters on the CPU and a temperature of 1, and can be differentiated only once. Under autocast
    they compute in float32 too: with its conversions, a product in bfloat16 takes longer for the symbols of a text.
    """
    if not x.is_contiguous():  # time-major in memory: in this order no product needs a copy
        x, target = x.transpose(0, 1), target.t()
        soft = soft and soft._replace(probabilities=soft.probabilities.transpose(0, 1))
    worth_it = target.numel() * len(weight) >= FEWEST_SCORES or torch.is_autocast_enabled("cpu")
    softened = soft is not None and soft.temperature != 1
    if not (worth_it and can_run(weight)) or x.dtype is torch.float64 or softened:
        return output_loss_reference(x, weight, bias, target, smoothing, soft)
    compute: Any = _OutputLoss.apply
    objective, loss = compute(x, weight, bias, target, smoothing, soft)
    return objective, loss if smoothing or soft else objective


def can_run(weight: Tensor) -> bool:
    """Whether the kernels are built and support such a weight."""
    return load() is not None and weight.is_cpu and weight.dtype is torch.float32


class _OutputLoss(torch.autograd.Function):
    """The projection and the kernels' cross-entropy."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float, soft: SoftTargets | None
    ) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.of = x.shape, x.dtype
        rows = x.reshape(-1, x.shape[2]).float()
        with torch.autocast("cpu", enabled=False):
            scores = _scores(rows, weight, bias)
        objective, loss = _replace_by_gradient(scores, target.reshape(-1), smoothing, soft)
        ctx.save_for_backward(rows, weight, scores)
        ctx.mark_non_differentiable(loss)
        return objective, loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_objective: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, grad_scores = ctx.saved_tensors
        scale = float(grad_objective)
        if scale != 1.0:
            grad_scores = grad_scores * scale
        with torch.autocast("cpu", enabled=False):
            grad_x, grad_weight = grad_scores @ weight, grad_scores.t() @ rows
        return grad_x.to(ctx.of).view(ctx.shape), grad_weight, grad_scores.sum(0), None, None, None


def _scores(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the scores (N, V) in float32; the distance of their rows is a multiple of the kernels' 16 lanes."""
    symbols = len(weight)
    scores = bias.new_empty(len(rows), -(-symbols // 16) * 16)[:, :symbols]
    return torch.addmm(bias, rows, weight.t(), out=scores)


def _replace_by_gradient(
    scores: Tensor, targets: Tensor, smoothing: float, soft: SoftTargets | None
) -> tuple[Tensor, Tensor]:
    """Replace scores (N, V) by the gradient of the objective; return the objective and the loss."""
    targets = targets.to(torch.int64).contiguous()
    losses = (ctypes.c_double * 3)()
    q = None if soft is None else soft.probabilities.to(torch.float32).contiguous()
    mixed = 0.0 if soft is None else soft.weight
    arrays = scores.data_ptr(), targets.data_ptr(), None if q is None else q.data_ptr(), losses
    sizes = *scores.shape, scores.stride(0)
    failed = load().loss_cross_entropy(*arrays, *sizes, smoothing, mixed, torch.get_num_threads(), openmp())
    if failed == 1:
        raise IndexError(f"target: an id is out of bounds; give ids from 0 to {scores.shape[1] - 1}")
    if failed:
        raise MemoryError("not enough memory for the loss")
    loss, even, of_soft = losses
    of_text = (1 - smoothing) * loss + smoothing * even
    return scores.new_tensor((1 - mixed) * of_text + mixed * of_soft), scores.new_tensor(loss)
