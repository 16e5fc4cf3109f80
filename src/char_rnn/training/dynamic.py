"""Dynamic evaluation: a model that goes on learning from the text it is scored on.

Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models", arXiv 1709.07432.

Dimensions: B streams, n characters of a segment, V vocabulary.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from char_rnn.training.metrics import MAX_OUTPUTS, Evaluation, targets_of

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.models import Hidden

RATE, DECAY, SEGMENT = 5e-4, 2e-3, 20
EPSILON = 2e-4  # an element whose gradients are all but zero moves as one whose gradients are this large
STREAMS, BATCHES = 100, 50  # of the gradients' statistics: B, and batches of B segments
REPORT = 50  # segments between two reports of progress, and two waits for the device

Progress = Callable[[str, int, int], None]


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

    The split is one stream from a zero state; the state is carried along. The update (equations 5 and 6 of the paper)
    is theta - eta g / (RMS + eps) + lambda RMS_norm (theta_0 - theta), element by element. RMS is the root of the mean
    square of a segment's gradient, estimated beforehand; RMS_norm is RMS over its mean, at most 1 / lambda. A batch's
    mean square is times B what a single segment's is, for gradients about zero, and is scaled to that: so eta means the
    same for every B.

    Without a training split the statistics are those of text that the model itself writes, from a fixed seed: the
    diagonal of its Fisher information, where the training split gives the empirical one.

    Args:
        model: any model of this package; a copy learns, without dropout, and the model stays as it is.
        split: the text; the character before it, where there is one, is the first input.
        train_split: what the model was trained on.
        rate: eta, 0 or more; 0 learns nothing.
        decay: lambda, from 0 to 1, towards the parameters that the model has.
        segment: n, 1 or more.
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
    batches = _own_text(learner, segment) if known is None else _of_split(known, learner, segment)
    with torch.enable_grad():
        update = _Update(learner, _root_mean_squares(learner, batches, told), rate, decay)
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


def _learn_along(model: CharModel, split: Split, segment: int, update: _Update, told: Progress) -> float:
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
            told("learning from the text", done, count)
        if done < count:
            update(torch.autograd.grad(loss, update.parameters))
    return total


def _mean_loss(model: CharModel, x: Tensor, y: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
    """Return the mean loss of a batch in nats, and the state after it, cut off from it."""
    weight = model.output_proj.weight
    log_probs, hidden = model(x.to(weight.device), hidden)
    return F.nll_loss(log_probs.flatten(0, 1), y.to(weight.device).flatten()), detach_state(hidden)


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


def _root_mean_squares(model: CharModel, batches: Iterable[tuple[Tensor, Tensor]], told: Progress) -> list[Tensor]:
    """Return the root mean square of a segment's gradient for each parameter, from batches of B of them."""
    parameters = list(model.parameters())
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    hidden: Hidden | None = None
    count = 0
    for x, y in batches:
        hidden = model.init_hidden(len(x)) if hidden is None else hidden
        loss, hidden = _mean_loss(model, x, y, hidden)
        gradients = torch.autograd.grad(loss, parameters)
        torch._foreach_addcmul_(squares, gradients, gradients, len(x))
        count += 1
        told("measuring gradients", count, BATCHES)
    return [(square / count).sqrt_() for square in squares]


def _streams(model: CharModel, segment: int) -> int:
    """Return B, fewer for long segments and large vocabularies."""
    return max(1, min(STREAMS, MAX_OUTPUTS // (segment * model.vocab_size)))


def _of_split(split: Split, model: CharModel, segment: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches from all over a split: inputs and targets (B, n)."""
    streams = min(_streams(model, segment), split.predicted // segment)
    return islice(StreamBatches(split, streams, segment).epoch(0), BATCHES)


def _own_text(model: CharModel, segment: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of what the model writes, from a fixed seed: inputs and targets (B, n)."""
    streams = _streams(model, segment)
    generator = torch.Generator().manual_seed(0)
    hidden = model.init_hidden(streams)
    last = torch.randint(model.vocab_size, (streams, 1), generator=generator)
    for _ in range(BATCHES):
        symbols = [last]
        for _ in range(segment):
            last, hidden = _next_symbols(model, last, hidden, generator)
            symbols.append(last)
        text = torch.cat(symbols, 1)
        yield text[:, :-1], text[:, 1:]


@torch.no_grad()
def _next_symbols(model: CharModel, last: Tensor, hidden: Hidden, generator: torch.Generator) -> tuple[Tensor, Hidden]:
    """Draw the symbols after the last ones, (B, 1) both; on the CPU, where drawing is right on every machine."""
    log_probs, hidden = model(last.to(model.output_proj.weight.device), hidden)
    return torch.multinomial(log_probs[:, -1].exp().cpu(), 1, generator=generator), hidden


def _check(rate: float, decay: float, segment: int) -> None:
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate: got {rate}; give a number, 0 or more")
    if not 0 <= decay <= 1:
        raise ValueError(f"decay: got {decay}; give a number from 0 to 1")
    if segment < 1:
        raise ValueError(f"segment: got {segment}; give a whole number of characters, 1 or more")
