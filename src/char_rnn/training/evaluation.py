"""The loss of a model on a split, every character once.

Losses are in nats per character; bits per character are nats / ln 2; perplexity is exp(nats).

Shapes: S streams, C characters of a chunk, W characters of burn-in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from char_rnn.data.mapped import PageReleaser
from char_rnn.models.char_model import CharModel, state_parts
from char_rnn.training.process_group import ProcessGroup
from char_rnn.utils.device import halving
from char_rnn.utils.terminal import counted

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split

Progress = Callable[[int, int], None]

MAX_STREAMS, MIN_STREAM, CHUNK, BURN_IN = 64, 2048, 256, 256

MAX_OUTPUTS = 1 << 23
"""Largest number of log-probabilities at once, so that a large vocabulary does not fill the memory."""


@dataclass(frozen=True)
class Evaluation:
    """The loss of a model on a text.

    Attributes:
        loss: Mean negative log-likelihood, in nats per character.
        characters: Number of predicted characters.
        of: Number of characters in the split, if only some were predicted; None if all were.
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
        """exp(loss): the number of equally likely characters with the same loss."""
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


def evaluate(
    model: CharModel,
    split: Split,
    device: torch.device | str | None = None,
    group: ProcessGroup | None = None,
    characters: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Predict every character of a split once, in evaluation mode, with the state carried along.

    A long split is read as up to 64 streams in parallel. All but the first start from a warm state: they first read the
    256 characters before their own (more by the window of attention), unscored. Models with matches also find them in
    the ``match_window`` characters before those. All of these are in the split; of the text before it, only the last
    character is read. The training batch size has no influence, so the same model gives the same number in training and
    afterwards.

    Args:
        model: Any model of this package; its training mode is restored.
        split: Text; the character before it, if there is one, is the first input.
        device: Device to compute on; None for that of the model.
        group: Processes that share the streams; None for this one alone.
        characters: Approximate number of characters to predict: the beginnings of as many streams as a text of that
            length has, spread evenly over the split. None for all.
        progress: Called repeatedly with the numbers of characters predicted and to predict.

    Raises:
        ValueError: The split has no character that can be predicted.
    """
    return evaluate_mean([model], split, device, group, characters, progress)[0]


@torch.inference_mode()
def evaluate_mean(
    models: Sequence[CharModel],
    split: Split,
    device: torch.device | str | None = None,
    group: ProcessGroup | None = None,
    characters: int | None = None,
    progress: Progress | None = None,
) -> tuple[Evaluation, list[Evaluation]]:
    """Evaluate the mean of the probabilities of several models, and each of them, in one pass over the text.

    The models have the same vocabulary and are on one device; the other arguments are those of :func:`evaluate`.

    Returns:
        The evaluation of the mean, and those of the models.

    Raises:
        ValueError: As for :func:`evaluate`, or the vocabularies have different sizes.
    """
    if len({model.vocab_size for model in models}) != 1:
        raise ValueError(f"models: need the same vocabulary, got sizes {[model.vocab_size for model in models]}")
    targets = targets_of(split)
    device = torch.device(device) if device is not None else next(models[0].parameters()).device
    were_training = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        group = group or ProcessGroup()
        streams = _Streams(split, group, characters)
        totals = _negative_log_likelihoods(models, streams, device, progress or (lambda *_: None))
    finally:
        for model, was_training in zip(models, were_training, strict=True):
            model.train(was_training)
    of = targets if streams.scored < targets else None
    mean, *each = (Evaluation(group.sum(total) / streams.scored, streams.scored, of=of) for total in totals)
    return mean, each


def targets_of(split: Split) -> int:
    """Return how many characters of a split can be predicted; raise ValueError if none can."""
    if split.predicted < 1:
        raise ValueError(
            f"the {split.name} split has {counted(len(split), 'character')}, so there is nothing to predict; "
            + ("give a longer text" if split.name == "all" else "choose another split (--split all is the whole text)")
        )
    return split.predicted


def _negative_log_likelihoods(
    models: Sequence[CharModel], streams: _Streams, device: torch.device, progress: Progress
) -> list[float]:
    """Return the summed losses in nats, of the mean and of each model, in shorter chunks if memory runs out."""
    if not streams.count:
        return [0.0] * (1 + len(models))
    chunk = max(1, min(CHUNK, MAX_OUTPUTS // (streams.count * models[0].vocab_size)))
    return halving(lambda size: _by_chunks(models, streams, device, size, progress), chunk)[0]


def _by_chunks(
    models: Sequence[CharModel], streams: _Streams, device: torch.device, chunk: int, progress: Progress
) -> list[float]:
    """Return the summed losses in nats, summed in float64 on the CPU."""
    states = [_warm_state(model, streams, device, chunk) for model in models]
    totals = [0.0] * (1 + len(models))
    for offset in range(0, streams.reach, chunk):
        x, y, valid = streams.chunk(offset, chunk)
        x, y, picked = x.to(device), y.to(device).unsqueeze(-1), []
        for number, model in enumerate(models):
            log_probs, states[number] = model(x, states[number])
            picked.append(log_probs.gather(-1, y).squeeze(-1).cpu().double())  # (S, C)
        mean = torch.logsumexp(torch.stack(picked), 0) - math.log(len(models)) if len(models) > 1 else picked[0]
        totals = [total - float(each[valid].sum()) for total, each in zip(totals, (mean, *picked), strict=True)]
        progress(streams.scored * min(offset + chunk, streams.reach) // streams.reach, streams.scored)
    return totals


def _warm_state(model: CharModel, streams: _Streams, device: torch.device, chunk: int) -> Any:
    """Return the state of S streams: zero for the first of the text, that after the burn-in for the others."""
    hidden: Any = model.init_hidden(streams.count, device)
    if streams.count == streams.cold:
        return hidden
    warm: Any = model.init_hidden(streams.count - streams.cold, device)
    burn_in = BURN_IN + model.attention_window
    if model.match_window:  # the symbols before the burn-in are known without reading them
        warm[-1][0] = streams.history(burn_in, model.match_window)
    for x in torch.split(streams.burn_in(burn_in), chunk, 1):
        _, warm = model(x.to(device), warm)
    for cold, warmed in zip(state_parts(hidden), state_parts(warm), strict=True):
        cold[:, streams.cold :] = warmed
    return hidden


class _Streams:
    """This process's S streams of a split that is cut into parts of equal length; the last may be shorter.

    ``cold`` of them, 1 or 0, start at the beginning of the split. ``reach`` characters of each are scored, and
    ``scored`` characters in the streams of all processes.
    """

    def __init__(self, split: Split, group: ProcessGroup, characters: int | None = None) -> None:
        self.split, self.targets = split, split.predicted
        part = min(characters or self.targets, self.targets)
        count = max(1, min(MAX_STREAMS, part // MIN_STREAM))
        self.length = -(-self.targets // count)
        self.reach = self.length if part == self.targets else part // count
        starts = np.arange(count) * self.length
        self.scored = int(np.clip(self.targets - starts, 0, self.reach).sum())
        self.starts = starts[group.rows(count)]
        self.count, self.cold = len(self.starts), int(0 in self.starts)
        self._pages = PageReleaser(split.ids)

    def chunk(self, offset: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return inputs and targets (S, C) from `offset` on in every stream, and a mask of those that exist."""
        position = self.starts[:, None] + np.arange(offset, min(offset + size, self.reach))
        valid = position < self.targets
        position = np.minimum(position, self.targets - 1)
        self._pages.touched_in_order(position.size * self.split.ids.itemsize)
        return self._at(position), self._at(position + 1), torch.from_numpy(valid)

    def burn_in(self, size: int) -> torch.Tensor:
        """Return the inputs (S - cold, W), W at most `size`, before every stream but the first of the text."""
        return self._at(self.starts[self.cold :, None] + np.arange(-min(size, self.length), 0))

    def history(self, burn_in: int, size: int) -> torch.Tensor:
        """Return the ids + 1 (S - cold, `size`) of the inputs before the burn-in, and 0 before the text."""
        ends = self.starts[self.cold :] - min(burn_in, self.length)
        return torch.from_numpy(self.split.history(ends, size))

    def _at(self, position: np.ndarray) -> torch.Tensor:
        """Return the ids at positions of the sequence [context,] split."""
        return torch.from_numpy(self.split.read(position))
