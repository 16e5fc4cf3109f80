"""A model that learns from a text as it reads it, a segment at a time: in dynamic evaluation, and from a writer's text.

Source: Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models", arXiv 1709.07432.

Dimensions: B streams, n characters of a segment, L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from char_rnn.data.dataloader import StreamBatches
from char_rnn.models.char_model import CharModel, Hidden, detach_state, state_parts
from char_rnn.utils.device import on_threads

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split

Batch = tuple[Tensor, Tensor]
Progress = Callable[[str, int, int], None]

RATE, DECAY, SEGMENT = 2e-4, 2e-3, 20
EPSILON = 2e-4  # elements with smaller gradients move as if their gradients were this large

STREAMS, LENGTH = 100, 1000  # B, and characters of each, to measure gradients with
KEPT, MAX_KEPT = 8, 1 << 25  # numbers saved for the backward pass: about so many a unit and step, at most in all
FEWEST = 10  # smallest number of segments of each stream


class Learned(NamedTuple):
    """What a learner knows after a text.

    Attributes:
        parameters: Copies of the parameters; the same tuple as before if they have not changed.
        hidden: State after the text.
    """

    parameters: tuple[Tensor, ...]
    hidden: Hidden


class Learner:
    """A model that learns from a text, with carried state.

    The update after a segment (equations 5 and 6 of the paper) is, element by element,

        theta' = theta - eta g / (RMS + eps) + lambda min(RMS / mean(RMS), 1 / lambda) (theta_0 - theta)

    with g the gradient of the segment's mean loss, RMS the result of :func:`gradient_scale`, measured beforehand, and
    its mean over all elements. theta_0 are the parameters that the learner begins with.

    Args:
        model: Model in evaluation mode; it learns in place.
        scale: RMS, for each parameter.
        rate: eta, the typical step of a parameter after a segment.
        decay: lambda, the mean fraction of its way back to theta_0 that a parameter returns after a segment.
    """

    def __init__(self, model: CharModel, scale: Sequence[Tensor], rate: float = RATE, decay: float = DECAY) -> None:
        self.model = model.requires_grad_()
        self.parameters: list[Tensor] = list(model.parameters())
        self.hidden: Hidden = model.init_hidden(1)
        self._origin = tuple(parameter.detach().clone() for parameter in self.parameters)
        self._copies: tuple[Tensor, ...] | None = self._origin
        mean = sum(float(rms.sum()) for rms in scale) / sum(rms.numel() for rms in scale) or 1.0
        self._pull = [(rms * (decay / mean)).clamp_(max=1) for rms in scale]
        self._step = [rate / (rms + EPSILON) for rms in scale]

    @property
    def nbytes(self) -> int:
        """Bytes of the parameters and the state."""
        return sum(tensor.nbytes for tensor in (*self.parameters, *state_parts(self.hidden)))

    def begin(self) -> None:
        """Set the state to that of the beginning of a text."""
        self.hidden = self.model.init_hidden(1)

    @torch.enable_grad()  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
    def learn(self, x: Tensor, y: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Read a segment, and learn from it.

        Args:
            x: Symbols, (1, n).
            y: The symbol after each, (1, n).
            chosen: Which of `y` to learn from, (n,), booleans; None for all. A segment with few of them makes a small
                step: its loss is their sum over n.

        Returns:
            The mean loss of `y` before the update, in nats.
        """
        if chosen is not None and not chosen.any():
            with torch.no_grad():
                loss, self.hidden = _mean_loss(self.model, x, y, self.hidden)
            return loss
        loss, self.hidden = _mean_loss(self.model, x, y, self.hidden, chosen)
        self._update(torch.autograd.grad(loss, self.parameters, materialize_grads=True))
        return loss.detach()

    def learn_symbols(self, symbols: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]) -> None:
        """Learn from symbols (n + 1,), of which the last n are to be predicted; `chosen`, (n,), as in :meth:`learn`."""
        text = torch.from_numpy(symbols)[None]
        with on_threads(1):  # as one stream is too little work for several
            self.learn(text[:, :-1], text[:, 1:], torch.from_numpy(chosen))

    def snapshot(self) -> Learned:
        """Return what is learned so far, for :meth:`restore`."""
        if self._copies is None:
            self._copies = tuple(parameter.detach().clone() for parameter in self.parameters)
        return Learned(self._copies, self.hidden)

    def restore(self, learned: Learned | None = None) -> None:
        """Return to a snapshot, bit for bit; None for the beginning."""
        self._copies, self.hidden = learned or Learned(self._origin, self.model.init_hidden(1))
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self._copies)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the weights by their names in the state dict."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.model.state_dict().items()}

    def state(self) -> list[npt.NDArray[Any]]:
        """Return the parts of the state without the axis of streams."""
        return [part[:, 0].numpy().copy() for part in state_parts(self.hidden)]

    @torch.no_grad()
    def _update(self, gradients: tuple[Tensor, ...]) -> None:
        """Make one step; the decay uses the parameters before it."""
        torch._foreach_lerp_(self.parameters, self._origin, self._pull)
        torch._foreach_addcmul_(self.parameters, gradients, self._step, -1)
        self._copies = None


@torch.enable_grad()  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def gradient_scale(
    model: CharModel, text: Split | None, segment: int, progress: Progress, length: int | None = None
) -> list[Tensor]:
    """Return the root mean square of a segment's gradient, for each parameter of a model in evaluation mode.

    It is measured on batches of B segments with carried state. A batch's gradient is the mean of those of its segments,
    which are independent and about zero, so its mean square is a B-th of theirs and is scaled by B. The result does not
    depend on B (in the paper, the batch size is a hyperparameter).

    The text is one that the model was trained on, at least n characters; parts from all over it are used. None stands
    for samples of the model, from a fixed seed: then the mean square is the diagonal of its Fisher information; with
    training text, the empirical one.

    `length` is the number of characters of each stream, LENGTH by default.
    """
    kept = segment * max(model.vocab_size, KEPT * model.num_layers * model.hidden_size)
    streams = max(1, min(STREAMS, MAX_KEPT // kept))
    count = max(FEWEST, (length or LENGTH) // segment)
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


def _mean_loss(
    model: CharModel, x: Tensor, y: Tensor, hidden: Hidden, chosen: Tensor | None = None
) -> tuple[Tensor, Hidden]:
    """Return the mean loss of a batch (B, n) in nats, 0 for targets not `chosen`, and the state after it, detached."""
    device = model.output_proj.bias.device
    log_probs, hidden = model(x.to(device), hidden)
    predictions, targets = log_probs.flatten(0, 1), y.to(device).flatten()
    if chosen is None or chosen.all():
        return F.nll_loss(predictions, targets), detach_state(hidden)
    losses = F.nll_loss(predictions, targets, reduction="none")
    return (losses * chosen.to(device)).mean(), detach_state(hidden)


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
