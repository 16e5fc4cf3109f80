"""Honest numbers: the loss of a model on a split, and the file that keeps a run's measurements.

Losses are in nats per character; bits per character are nats / ln 2; perplexity is exp(nats).

Shapes: S streams, C characters of a chunk, W characters of burn-in.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from char_rnn.data.mapped import PageReleaser
from char_rnn.training.process_group import ProcessGroup
from char_rnn.utils.device import is_out_of_memory

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.models import CharModel

_logger = logging.getLogger("char_rnn")

MAX_STREAMS, MIN_STREAM, CHUNK, BURN_IN = 64, 2048, 256, 256
MAX_OUTPUTS = 1 << 23  # log-probabilities at once, so that a large vocabulary does not fill the memory


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of a text.

    Attributes:
        loss: mean negative log-likelihood, in nats per character.
        characters: how many characters were predicted.
        of: how many the split has, where only a part of them was predicted; None where all were.
    """

    loss: float
    characters: int
    of: int | None = field(default=None, kw_only=True)

    @property
    def bits_per_character(self) -> float:
        """The loss in bits."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(loss): among how many equally likely characters the model chooses, in effect."""
        return perplexity(self.loss)


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        step: optimizer steps done.
        seconds: time spent, earlier parts of a resumed run included.
        val: last evaluation of the validation split; None without one.
        best_val_loss, best_step: lowest validation loss (nats per character) and its step; infinite and 0 without a
            validation split.
        test: evaluation of the test split with the best model; None without one.
        stopped: whether the run was asked to stop before its end.
        early: whether the run ran out of ``training.patience``.
    """

    step: int
    seconds: float
    val: Evaluation | None
    best_val_loss: float
    best_step: int
    test: Evaluation | None
    stopped: bool
    early: bool = False


def perplexity(loss: float) -> float:
    """Return exp(loss), infinite where it overflows."""
    return math.exp(loss) if loss < 700 else math.inf


@torch.inference_mode()
def evaluate(
    model: CharModel,
    split: Split,
    device: torch.device | str | None = None,
    group: ProcessGroup | None = None,
    characters: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict every character of a split once, in evaluation mode, with the state carried along.

    A long split is read as up to 64 streams side by side. Each but the first runs first over the 256 characters before
    its own (more by the window of its attention), unscored, so that it starts from a warm state; the batch a model was
    trained with plays no part, and the same model gives the same number in training and afterwards.

    Args:
        model: any model of this package; its training mode is restored.
        split: the text; the character before it, where there is one, is the first input.
        device: where to compute; where the model is, when not given.
        group: the processes that share the streams out; this one alone when not given.
        characters: About how many to predict: as many streams as a text of that length has, spread evenly over the
            split, each its first characters only. None, or no fewer than there are, predicts all.
        progress: Called with the characters predicted and all that are to be, again and again.

    Raises:
        ValueError: the split has no character that can be predicted.
    """
    targets = targets_of(split)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        group = group or ProcessGroup()
        streams = _Streams(split, group, BURN_IN + model.attention_window, characters)
        total = group.sum(_negative_log_likelihood(model, streams, device, progress))
    finally:
        model.train(was_training)
    return Evaluation(total / streams.scored, streams.scored, of=targets if streams.scored < targets else None)


def targets_of(split: Split) -> int:
    """Return how many characters of a split can be predicted.

    Raises:
        ValueError: there are none.
    """
    if split.predicted < 1:
        raise ValueError(
            f"the {split.name} split has {len(split)} characters, so there is nothing to predict; "
            "choose another split (--split all is the whole text)"
        )
    return split.predicted


def _negative_log_likelihood(
    model: CharModel, streams: _Streams, device: torch.device, progress: Callable[[int, int], None] | None
) -> float:
    """Return the summed loss in nats over all targets, in shorter chunks where memory runs out."""
    if not streams.count:
        return 0.0
    chunk = max(1, min(CHUNK, MAX_OUTPUTS // (streams.count * model.vocab_size)))
    while True:
        try:
            return _by_chunks(model, streams, device, chunk, progress)
        except (RuntimeError, MemoryError) as error:
            if chunk == 1 or not is_out_of_memory(error):
                raise
        chunk //= 2


def _by_chunks(
    model: CharModel,
    streams: _Streams,
    device: torch.device,
    chunk: int,
    progress: Callable[[int, int], None] | None,
) -> float:
    """Return the summed loss in nats; summed in float64 on the CPU."""
    hidden = _warm_state(model, streams, device, chunk)
    total = 0.0
    for offset in range(0, streams.reach, chunk):
        x, y, valid = streams.chunk(offset, chunk)
        log_probs, hidden = model(x.to(device), hidden)
        picked = log_probs.gather(-1, y.to(device).unsqueeze(-1)).squeeze(-1).cpu().double()  # (S, C)
        total -= float(picked[valid].sum())
        if progress is not None:
            progress(streams.scored * min(offset + chunk, streams.reach) // streams.reach, streams.scored)
    return total


def _warm_state(model: CharModel, streams: _Streams, device: torch.device, chunk: int) -> Any:
    """Return the state of S streams: zero for the text's first, the others' after their burn-in."""
    hidden: Any = model.init_hidden(streams.count, device)
    if streams.count == streams.cold:
        return hidden
    warm: Any = model.init_hidden(streams.count - streams.cold, device)
    for x in torch.split(streams.burn_in(), chunk, 1):
        _, warm = model(x.to(device), warm)
    pairs = zip(hidden, warm, strict=True) if isinstance(hidden, tuple) else [(hidden, warm)]
    for cold, warmed in pairs:
        cold[:, streams.cold :] = warmed
    return hidden


class _Streams:
    """A split cut into parts of equal length (the last may be shorter), read side by side: the S of this process.

    ``cold`` of them, 1 or 0, begin where the split does. ``reach`` characters of each are scored, ``scored`` in all
    streams of all processes.
    """

    def __init__(self, split: Split, group: ProcessGroup, burn_in: int, characters: int | None = None) -> None:
        self.ids, self.context, self.targets = split.ids, split.context, split.predicted
        part = min(characters or self.targets, self.targets)
        count = max(1, min(MAX_STREAMS, part // MIN_STREAM))
        self.length = -(-self.targets // count)
        self.reach = self.length if part == self.targets else part // count
        starts = np.arange(count) * self.length
        self.scored = int(np.clip(self.targets - starts, 0, self.reach).sum())
        self.starts = starts[group.rows(count)]
        self.count, self.cold = len(self.starts), int(0 in self.starts)
        self._burn_in = min(burn_in, self.length)
        self._pages = PageReleaser(split.ids)

    def chunk(self, offset: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return inputs, targets (S, C) and a mask of those that exist, from ``offset`` on in every stream."""
        position = self.starts[:, None] + np.arange(offset, min(offset + size, self.reach))
        valid = position < self.targets
        position = np.minimum(position, self.targets - 1)
        self._pages.touched_in_order(position.size * self.ids.itemsize)
        return self._at(position), self._at(position + 1), torch.from_numpy(valid)

    def burn_in(self) -> torch.Tensor:
        """Return the inputs (S - cold, W) that lead up to every stream but the text's first."""
        return self._at(self.starts[self.cold :, None] + np.arange(-self._burn_in, 0))

    def _at(self, position: np.ndarray) -> torch.Tensor:
        """Return the ids at positions of the sequence [context,] split."""
        if self.context is None:
            return torch.from_numpy(self.ids[position].astype(np.int64))
        values = self.ids[np.maximum(position - 1, 0)].astype(np.int64)
        values[position == 0] = self.context
        return torch.from_numpy(values)
