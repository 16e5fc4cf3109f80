"""Dropout between the layers and after the top one.

On MPS the dropout of a multi-layer ``nn.LSTM`` has been left out of the gradients (pytorch issue 190056), given NaN
(190057), repeated its mask at every call (185351) and worked in evaluation (180744). The models of this package have
their own, and the check sees it at work: it watches what each layer puts out and what becomes of it, and computes the
gradients anew in float64 with the same masks.

Dimensions: B batch, T time, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.finding import Finding, judge_gradients
from char_rnn.doctor.numbers import GRADIENT, LOG_PROBS
from char_rnn.doctor.problem import CPU, LAYERS, SEED, Computed, Problem, compute, exact
from char_rnn.models import CharModel
from char_rnn.models.char_model import State

SHARE, SIGMAS = 0.5, 6.0
KEPT = 1 / (1 - SHARE)
SCALED = 1e-5


def dropout(backend: Backend, problem: Problem) -> Finding:
    """Judge masks, evaluation and gradients; the error is a part of a gradient's largest element."""
    torch.manual_seed(SEED)
    model = backend.place(problem.model(dropout=SHARE))
    ids = problem.ids(*problem.sizes.batch)
    watch = _Watch(model)
    found = compute(model, ids, backend.device)
    first, scaled = watch.masks(), watch.scaling_error()
    compute(model, ids, backend.device)
    complaint = _about_masks(first, watch.masks(), scaled) or _about_evaluation(model, watch, ids.to(backend.device))
    if complaint:
        return Finding(False, complaint)
    return _judge_replay(found, _replay(problem, ids, first))


class _Watch:
    """Sees what the layers of a model put out, and what dropout makes of it."""

    def __init__(self, model: CharModel) -> None:
        self._run_layer = model.run_layer
        self._outputs: list[Tensor] = []
        self._dropped: list[Tensor] = []
        model.run_layer = self._watched  # type: ignore[method-assign]
        model.output_proj.register_forward_pre_hook(lambda _, inputs: self._dropped.append(exact(inputs[0])))

    def masks(self) -> list[Tensor]:
        """Return for each layer which units were kept in the last pass: 1 or 0, (B, T, H)."""
        return [(dropped != 0).double() for dropped in self._dropped]

    def scaling_error(self, kept: float = KEPT) -> float:
        """Return how far the kept units are from ``kept`` times what the layer put out."""
        layers = zip(self._outputs, self._dropped, self.masks(), strict=True)
        return max(float((dropped - kept * mask * output).abs().max()) for output, dropped, mask in layers)

    def _watched(self, x: Tensor, *others: Any, **options: Any) -> tuple[Tensor, State]:
        if len(self._outputs) == LAYERS:
            self._outputs.clear()
            self._dropped.clear()
        if self._outputs:
            self._dropped.append(exact(x))
        output, state = self._run_layer(x, *others, **options)
        self._outputs.append(exact(output))
        return output, state


def _about_masks(first: list[Tensor], second: list[Tensor], scaled: float) -> str:
    """Return what is wrong with the masks of two calls; nothing if they are right."""
    margin = SIGMAS * math.sqrt(SHARE * (1 - SHARE) / first[0].numel())
    for layer, (mask, other) in enumerate(zip(first, second, strict=True), 1):
        share = 1 - float(mask.mean())
        if not abs(share - SHARE) <= margin:
            return f"after layer {layer} {share:.1%} of the units are dropped, not {SHARE:.0%}"
        if _agreement(mask, other) > 0.5 + margin:
            return f"after layer {layer} the same units are dropped at every call ({_agreement(mask, other):.0%} agree)"
    if _agreement(*first) > 0.5 + margin:
        return f"the same units are dropped after both layers ({_agreement(*first):.0%} agree)"
    if not scaled <= SCALED:
        return f"the units that are kept are not scaled by {KEPT:g} (off by {scaled:.1e})"
    return ""


def _agreement(mask: Tensor, other: Tensor) -> float:
    """Return the share of places at which two masks agree: half of them if they are independent and SHARE is 0.5."""
    return float((mask == other).double().mean())


@torch.no_grad()
def _about_evaluation(model: CharModel, watch: _Watch, ids: Tensor) -> str:
    """Return what is wrong in evaluation after an optimizer's step; nothing if no unit is dropped."""
    torch.optim.SGD(model.parameters(), lr=1e-2).step()
    model.eval()
    whole = exact(model(ids)[0])
    if watch.scaling_error(kept=1.0) > 0:
        return "units are dropped in evaluation"
    few = max(1, len(ids) // 4)
    off = float((exact(model(ids[:few])[0]) - whole[:few]).abs().max())
    if not off <= LOG_PROBS:
        return f"evaluation depends on the size of the batch: off by {off:.1e} nats (allowed {LOG_PROBS:.0e})"
    return ""


def _replay(problem: Problem, ids: Tensor, masks: list[Tensor]) -> Computed:
    """Compute in float64 on the CPU what dropout with these masks has to give."""
    model = problem.model(torch.float64)
    run_layer, left = model.run_layer, iter(masks)

    def masked(*given: Any, **options: Any) -> tuple[Tensor, State]:
        output, state = run_layer(*given, **options)
        return KEPT * output * next(left), state

    model.run_layer = masked  # type: ignore[method-assign]
    return compute(model, ids, CPU)


def _judge_replay(found: Computed, answer: Computed) -> Finding:
    off = float((found.log_probs - answer.log_probs).abs().max())
    if not off <= LOG_PROBS:
        return Finding(False, f"log-probabilities with dropout are off by {off:.1e} nats (allowed {LOG_PROBS:.0e})")
    return judge_gradients(found.gradients, answer.gradients, GRADIENT)
