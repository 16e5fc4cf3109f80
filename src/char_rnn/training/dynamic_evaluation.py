"""Dynamic evaluation: a model that goes on learning from the text it is scored on.

Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models", arXiv 1709.07432.

n is the number of characters of a segment.


How large a model's gradients are, element by element: the statistics behind the steps of dynamic evaluation.

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

from char_rnn.data.mapped import PageReleaser
from char_rnn.data.streams import StreamBatches
from char_rnn.models import CharModel, detach_state
from char_rnn.training.evaluation import Evaluation, targets_of
from char_rnn.utils.device import on_threads

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.models import Hidden


RATE, DECAY, SEGMENT = 5e-4, 2e-3, 20
LONGEST_SEGMENT = 1000  # its graph is kept in memory, as many times as streams are read side by side
EPSILON = 2e-4  # an element whose gradients are all but zero moves as one whose gradients are this large
REPORT = 50  # segments between two reports of progress, and two waits for the device


@dataclass(frozen=True)
class DynamicEvaluation(Evaluation):
    """What a model makes of a text that it learns from on the way.

    Attributes:
        rate: eta, the typical step of a parameter after a segment.
        decay: lambda, the share of its way back that a parameter goes after a segment, on average.
        segment: n, characters between two updates.
        statistics: the text whose gradients scaled the steps: the training split, or what the model itself writes.
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
    """Predict every character of a split once, and learn from each segment after it has been predicted.

    The split is one stream from a zero state, and the state is carried along. The update (equations 5 and 6 of the
    paper) is, element by element,

        theta' = theta - eta g / (RMS + eps) + lambda min(RMS / mean(RMS), 1 / lambda) (theta_0 - theta)

    with g the gradient of the segment's mean loss and RMS what
    :func:`~char_rnn.training.dynamic_evaluation.gradient_scale` measures beforehand; the mean is over all elements.

    Args:
        model: any model of this package; a copy learns, without dropout, and the model stays as it is.
        split: the text; the character before it, where there is one, is the first input.
        train_split: what the model was trained on; where it is not given, or shorter than a segment, the gradients are
            measured on text that the model writes.
        rate: eta, 0 or more; 0 learns nothing.
        decay: lambda, from 0 to 1, towards the parameters that the model has.
        segment: n, from 1 to 1,000.
        device: where to compute; where the model is, when not given.
        progress: told what is under way, and how many parts of it are done and there in all.

    Raises:
        ValueError: the split has no character that can be predicted, a number is out of its range, or the model learnt
            until its loss was not finite.
    """
    count = targets_of(split)
    _check(rate, decay, segment)
    told = progress or (lambda *_: None)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    learner = copy.deepcopy(model).to(device).requires_grad_().eval()
    known = train_split if train_split is not None and train_split.predicted >= segment else None
    with on_threads(1):  # a segment of one stream is too little work to share
        update = _Update(learner, gradient_scale(learner, known, segment, told), rate, decay)
        total = _learn_along(learner, split, segment, update, told)
    if not math.isfinite(total):
        raise ValueError(f"dynamic evaluation at rate {rate:g} ended in a loss of {total}; give a lower rate")
    return DynamicEvaluation(total / count, count, rate, decay, segment, "own" if known is None else "train")


class _Update:
    """The paper's update of a model's parameters, with those it has now as theta_0.

    Args:
        model: what learns, in place.
        rms: root mean square of a segment's gradient, for each parameter.
        rate: eta.
        decay: lambda.
    """

    def __init__(self, model: CharModel, rms: Sequence[Tensor], rate: float, decay: float) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self._origin = [parameter.detach().clone() for parameter in self.parameters]
        mean = sum(float(r.sum()) for r in rms) / sum(r.numel() for r in rms) or 1.0
        self._pull = [(r * (decay / mean)).clamp_(max=1) for r in rms]
        self._step = [rate / (r + EPSILON) for r in rms]

    @torch.no_grad()
    def __call__(self, gradients: tuple[Tensor, ...]) -> None:
        """Make one step; the decay sees the parameters as they are before it."""
        torch._foreach_lerp_(self.parameters, self._origin, self._pull)
        torch._foreach_addcmul_(self.parameters, gradients, self._step, -1)


@torch.enable_grad()
def _learn_along(model: CharModel, split: Split, segment: int, update: _Update, told: Progress) -> float:
    """Return the loss in nats, summed over all targets in float64 on the CPU."""
    count = -(-split.predicted // segment)
    hidden: Hidden = model.init_hidden(1)
    total, losses = 0.0, []
    for done, (x, y) in enumerate(_segments(split, segment), 1):
        loss, hidden = mean_loss(model, x, y, hidden)
        losses.append(loss.detach() * y.shape[1])
        if done % REPORT == 0 or done == count:
            total += float(torch.stack(losses).cpu().double().sum())
            losses.clear()
            told("learning from the text", done, count)
        if done < count:
            update(torch.autograd.grad(loss, update.parameters, materialize_grads=True))
    return total


def _segments(split: Split, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets (1, n) in order, the last ones maybe shorter; every target once."""
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


STREAMS, LENGTH = 100, 1000  # B, and characters of each
KEPT, MAX_KEPT = 8, 1 << 25  # numbers kept for the backward pass: about so many a unit and step, and at most in all
FEWEST = 10  # segments of each, however long

Batch = tuple[Tensor, Tensor]
Progress = Callable[[str, int, int], None]


def gradient_scale(model: CharModel, text: Split | None, segment: int, told: Progress) -> list[Tensor]:
    """Return the root mean square of a segment's gradient, for each parameter of a model in evaluation mode.

    It comes from batches of B segments, carrying the state. A batch's gradient is the mean of its segments'; these
    being independent and about zero, its mean square is a B-th of theirs, and is scaled to theirs. So what it is used
    for does not depend on B (in the paper of dynamic evaluation the batch is a hyperparameter).

    Args:
        model: where it is to be computed.
        text: what the model was trained on, at least n characters of it; parts from all over it are read. None for
            text that the model writes itself, from a fixed seed: the gradients' mean square is then the diagonal of its
            Fisher information, where training text gives the empirical one.
        segment: n.
        told: progress: what is under way, parts done, parts in all.
    """
    kept = segment * max(model.vocab_size, KEPT * model.num_layers * model.hidden_size)
    streams = max(1, min(STREAMS, MAX_KEPT // kept))
    count = max(FEWEST, LENGTH // segment)
    if text is None:
        return _root_mean_squares(model, own_text(model, streams, segment), count, told)
    streams = max(1, min(streams, text.predicted // (segment * FEWEST)))
    batches = StreamBatches(text, streams, segment)
    return _root_mean_squares(model, batches.epoch(0), min(count, len(batches)), told)


def mean_loss(model: CharModel, x: Tensor, y: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
    """Return the mean loss of a batch in nats, and the state after it, cut off from it; x and y are (B, n)."""
    device = model.output_proj.bias.device
    log_probs, hidden = model(x.to(device), hidden)
    return F.nll_loss(log_probs.flatten(0, 1), y.to(device).flatten()), detach_state(hidden)


def own_text(model: CharModel, streams: int, segment: int) -> Iterator[Batch]:
    """Yield what a model writes, without end, from a fixed seed: inputs and targets (B, n)."""
    generator = torch.Generator().manual_seed(0)
    hidden = model.init_hidden(streams)
    last = torch.randint(model.vocab_size, (streams, 1), generator=generator)
    while True:
        symbols = [last]
        for _ in range(segment):
            last, hidden = _next_symbols(model, last, hidden, generator)
            symbols.append(last)
        text = torch.cat(symbols, 1)
        yield text[:, :-1], text[:, 1:]


@torch.no_grad()
def _next_symbols(model: CharModel, last: Tensor, hidden: Hidden, generator: torch.Generator) -> tuple[Tensor, Hidden]:
    """Draw the symbols after the last ones, both (B, 1), on the CPU: not every device draws right."""
    log_probs, hidden = model(last.to(model.output_proj.bias.device), hidden)
    return torch.multinomial(log_probs[:, -1].exp().cpu(), 1, generator=generator), hidden


@torch.enable_grad()  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _root_mean_squares(model: CharModel, batches: Iterator[Batch], count: int, told: Progress) -> list[Tensor]:
    parameters = list(model.parameters())
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    hidden: Hidden | None = None
    for done, (x, y) in enumerate(islice(batches, count), 1):
        loss, hidden = mean_loss(model, x, y, model.init_hidden(len(x)) if hidden is None else hidden)
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        torch._foreach_addcmul_(squares, gradients, gradients, len(x))
        told("measuring gradients", done, count)
    return [(square / count).sqrt_() for square in squares]
