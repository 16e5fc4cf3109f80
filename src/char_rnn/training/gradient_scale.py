"""How large a model's gradients are, element by element: the statistics behind the steps of dynamic evaluation.

Dimensions: B streams, n characters of a segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from char_rnn.data.streams import StreamBatches
from char_rnn.models import CharModel, detach_state

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.models import Hidden

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
