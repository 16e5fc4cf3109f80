"""Dynamic evaluation: a model that continues to learn from the text it is scored on.

Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models", arXiv 1709.07432.

Dimensions: B streams, n characters of a segment.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from char_rnn.data.mapped import PageReleaser
from char_rnn.models import CharModel
from char_rnn.training.evaluation import Evaluation, targets_of
from char_rnn.training.learner import DECAY, RATE, SEGMENT, Batch, Learner, Progress, gradient_scale
from char_rnn.utils.device import on_threads

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split

LONGEST_SEGMENT = 1000  # its graph is in memory once for each stream
REPORT = 50  # segments between two reports of progress, and two synchronizations with the device


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

    The split is one stream from a zero state, and the state is carried along; see
    :class:`char_rnn.training.learner.Learner` for the update.

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
    copied = copy.deepcopy(model).to(device).requires_grad_().eval()
    known = train_split if train_split is not None and train_split.predicted >= segment else None
    with on_threads(1):  # a segment of one stream is too little work for several
        learner = Learner(copied, gradient_scale(copied, known, segment, progress), rate, decay)
        total = _learn_along(learner, split, segment, progress)
    if not math.isfinite(total):
        raise ValueError(f"dynamic evaluation at rate {rate:g} ended in a loss of {total}; give a lower rate")
    return DynamicEvaluation(total / count, count, rate, decay, segment, "own" if known is None else "train")


@torch.no_grad()
def _learn_along(learner: Learner, split: Split, segment: int, progress: Progress) -> float:
    """Return the loss in nats, summed over all targets in float64 on the CPU."""
    count = -(-split.predicted // segment)
    total, losses = 0.0, []
    for done, (x, y) in enumerate(_segments(split, segment), 1):
        losses.append(learner.learn(x, y) * y.shape[1])
        if done % REPORT == 0 or done == count:
            total += float(torch.stack(losses).cpu().double().sum())
            losses.clear()
            progress("learning from the text", done, count)
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
