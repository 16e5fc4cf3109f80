"""Dynamic evaluation: a model that continues to learn from the text it is scored on.

Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models", arXiv 1709.07432.

Dimensions: B streams, n characters of a segment.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from char_rnn.data.dataloader import StreamBatches
from char_rnn.data.mapped import PageReleaser
from char_rnn.models import CharModel, detach_state
from char_rnn.training.evaluation import Evaluation, targets_of
from char_rnn.utils.device import on_threads

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.models import Hidden

Batch = tuple[Tensor, Tensor]
Progress = Callable[[str, int, int], None]

RATE, DECAY, SEGMENT = 5e-4, 2e-3, 20
LONGEST_SEGMENT = 1000  # its graph is in memory once for each stream
EPSILON = 2e-4  # elements with smaller gradients move as if their gradients were this large
REPORT = 50  # segments between two reports of progress, and two synchronizations with the device

STREAMS, LENGTH = 100, 1000  # B, and characters of each, to measure gradients with
KEPT, MAX_KEPT = 8, 1 << 25  # numbers saved for the backward pass: about so many a unit and step, at most in all
FEWEST = 10  # smallest number of segments of each stream


@dataclass(frozen=True)
class DynamicEvaluation(Evaluation):
    """The loss of a model that learns from the text during the evaluation.

    Attributes:
        rate: eta, the typical step of a parameter after a segment.
        decay: lambda, the mean fraction of its way back that a parameter returns after a segment.
        segment: n, characters between two updates.
        statistics: Text whose gradients scaled the steps: the training split, or the model's own samples.
    """

    rate: float
    decay: float
    segment: int
    statistics: Literal["train", "own"]


def evaluate_dynamically(
    model: CharModel,
    split: Split,
    train_split: Split | None = None,
    *,
    rate: float = RATE,
    decay: float = DECAY,
    segment: int = SEGMENT,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> DynamicEvaluation:
    """Predict every character of a split once, and learn from each segment after its prediction.

    The split is one stream from a zero state, and the state is carried along. The update (equations 5 and 6 of the
    paper) is, element by element,

        theta' = theta - eta g / (RMS + eps) + lambda min(RMS / mean(RMS), 1 / lambda) (theta_0 - theta)

    with g the gradient of the segment's mean loss and RMS the result of :func:`gradient_scale`, measured beforehand;
    the mean is over all elements.

    Args:
        model: Any model of this package; a copy learns, without dropout, and the model does not change.
        split: Text; the character before it, if there is one, is the first input.
        train_split: Text the model was trained on; if it is None or shorter than a segment, the gradients are measured
            on the model's own samples.
        rate: eta, 0 or more; 0 learns nothing.
        decay: lambda, from 0 to 1, towards the initial parameters.
        segment: n, from 1 to 1,000.
        device: Device to compute on; None for that of the model.
        progress: Called with the current activity and the numbers of its parts done and in total.

    Raises:
        ValueError: The split has no character that can be predicted, a number is out of its range, or the loss became
            infinite or NaN.
    """
    count = targets_of(split)
    _check(rate, decay, segment)
    progress = progress or (lambda *_: None)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    learner = copy.deepcopy(model).to(device).requires_grad_().eval()
    known = train_split if train_split is not None and train_split.predicted >= segment else None
    with on_threads(1):  # a segment of one stream is too little work for several
        update = _Update(learner, gradient_scale(learner, known, segment, progress), rate, decay)
        total = _learn_along(learner, split, segment, update, progress)
    if not math.isfinite(total):
        raise ValueError(f"dynamic evaluation at rate {rate:g} ended in a loss of {total}; give a lower rate")
    return DynamicEvaluation(total / count, count, rate, decay, segment, "own" if known is None else "train")


class _Update:
    """The paper's update of a model's parameters in place; theta_0 are the present ones."""

    def __init__(self, model: CharModel, rms: Sequence[Tensor], rate: float, decay: float) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self._origin = [parameter.detach().clone() for parameter in self.parameters]
        mean = sum(float(r.sum()) for r in rms) / sum(r.numel() for r in rms) or 1.0
        self._pull = [(r * (decay / mean)).clamp_(max=1) for r in rms]
        self._step = [rate / (r + EPSILON) for r in rms]

    @torch.no_grad()
    def __call__(self, gradients: tuple[Tensor, ...]) -> None:
        """Make one step; the decay uses the parameters before it."""
        torch._foreach_lerp_(self.parameters, self._origin, self._pull)
        torch._foreach_addcmul_(self.parameters, gradients, self._step, -1)


@torch.enable_grad()
def _learn_along(model: CharModel, split: Split, segment: int, update: _Update, progress: Progress) -> float:
    """Return the loss in nats, summed over all targets in float64 on the CPU."""
    count = -(-split.predicted // segment)
    hidden: Hidden = model.init_hidden(1)
    total, losses = 0.0, []
    for done, (x, y) in enumerate(_segments(split, segment), 1):
        loss, hidden = _mean_loss(model, x, y, hidden)
        losses.append(loss.detach() * y.shape[1])
        if done % REPORT == 0 or done == count:
            total += float(torch.stack(losses).cpu().double().sum())
            losses.clear()
            progress("learning from the text", done, count)
        if done < count:
            update(torch.autograd.grad(loss, update.parameters, materialize_grads=True))
    return total


def _segments(split: Split, size: int) -> Iterator[Batch]:
    """Yield inputs and targets (1, n) in order, every target once; the last segment may be shorter."""
    pages = PageReleaser(split.ids)
    before = [] if split.context is None else [split.context]
    for start in range(-len(before), len(split) - 1, size):
        ids = split.ids[max(start, 0) : start + size + 1].astype(np.int64)
        pages.touched_in_order(size * split.ids.itemsize)
        if start < 0:
            ids = np.concatenate((before, ids))
        text = torch.from_numpy(ids)[None]
        yield text[:, :-1], text[:, 1:]


def _check(rate: float, decay: float, segment: int) -> None:
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate: got {rate}; give a number, 0 or more")
    if not 0 <= decay <= 1:
        raise ValueError(f"decay: got {decay}; give a number from 0 to 1")
    if not 1 <= segment <= LONGEST_SEGMENT:
        raise ValueError(f"segment: got {segment}; give a whole number of characters from 1 to {LONGEST_SEGMENT:,}")


@torch.enable_grad()  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def gradient_scale(model: CharModel, text: Split | None, segment: int, progress: Progress) -> list[Tensor]:
    """Return the root mean square of a segment's gradient, for each parameter of a model in evaluation mode.

    It is measured on batches of B segments with carried state. A batch's gradient is the mean of those of its segments,
    which are independent and about zero, so its mean square is a B-th of theirs and is scaled by B. The result does not
    depend on B (in the paper, the batch size is a hyperparameter).

    The text is one that the model was trained on, at least n characters; parts from all over it are used. None stands
    for samples of the model, from a fixed seed: then the mean square is the diagonal of its Fisher information; with
    training text, the empirical one.
    """
    kept = segment * max(model.vocab_size, KEPT * model.num_layers * model.hidden_size)
    streams = max(1, min(STREAMS, MAX_KEPT // kept))
    count = max(FEWEST, LENGTH // segment)
    if text is None:
        batches = own_text(model, streams, segment)
    else:
        streams = max(1, min(streams, text.predicted // (segment * FEWEST)))
        of_text = StreamBatches(text, streams, segment)
        batches, count = of_text.epoch(0), min(count, len(of_text))
    parameters, hidden = list(model.parameters()), model.init_hidden(streams)
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    for done, (x, y) in enumerate(islice(batches, count), 1):
        loss, hidden = _mean_loss(model, x, y, hidden)
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        torch._foreach_addcmul_(squares, gradients, gradients, streams)
        progress("measuring gradients", done, count)
    return [(square / count).sqrt_() for square in squares]


def _mean_loss(model: CharModel, x: Tensor, y: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
    """Return the mean loss of a batch (B, n) in nats, and the state after it, detached."""
    device = model.output_proj.bias.device
    log_probs, hidden = model(x.to(device), hidden)
    return F.nll_loss(log_probs.flatten(0, 1), y.to(device).flatten()), detach_state(hidden)


def own_text(model: CharModel, streams: int, segment: int) -> Iterator[Batch]:
    """Yield samples of a model, endlessly, from a fixed seed: inputs and targets (B, n)."""
    generator = torch.Generator().manual_seed(0)
    hidden = model.init_hidden(streams)
    last = torch.randint(model.vocab_size, (streams, 1), generator=generator)
    while True:
        symbols = [last]
        for _ in range(segment):
            with torch.no_grad():
                log_probs, hidden = model(last.to(model.output_proj.bias.device), hidden)
            # On the CPU: some devices draw wrongly.
            last = torch.multinomial(log_probs[:, -1].exp().cpu(), 1, generator=generator)
            symbols.append(last)
        text = torch.cat(symbols, 1)
        yield text[:, :-1], text[:, 1:]
