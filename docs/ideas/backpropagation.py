"""How far gradients reach: the norm of the derivative of the loss by the state k characters earlier.

Dimensions: N sequences, T characters of each, K steps back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from reading import Ids, Subject
from torch.nn import functional as F

from char_rnn.models import CharModel
from char_rnn.models.char_model import Hidden, detach_state
from char_rnn.runs.plots import save_figure, style

Norms = npt.NDArray[np.float64]
COLOURS = {"lstm": "#1b6ca8", "gru": "#2a9d57", "rnn": "#d95f02"}


def gradient_norms(model: CharModel, ids: Ids, back: int) -> Norms:
    """Return the norms of d loss_t / d state_{t-k}, (N, K), for k from 1 to K = ``back``.

    The state is all that a step hands to the next: h, of an LSTM h and c together. So nothing that reaches back
    further can go round it. The symbols that a model with matches remembers are integers and have no gradient.

    Args:
        model: In evaluation mode.
        ids: (N, T), T above K + 1; the characters before the last K + 1 only warm the state.
        back: K.
    """
    x = torch.from_numpy(ids)
    with torch.no_grad():
        hidden: Hidden = model(x[:, : -back - 1])[1]
    hidden = detach_state(hidden)
    states: list[tuple[torch.Tensor, ...]] = []
    for step in range(back):
        parts = (hidden,) if isinstance(hidden, torch.Tensor) else hidden
        floats = [part for part in parts if part.is_floating_point()]
        states.append(tuple(part.requires_grad_() if part.is_leaf else part for part in floats))
        log_probs, hidden = model(x[:, step - back - 1 : step - back], hidden)
    loss = F.nll_loss(log_probs[:, -1], x[:, -1], reduction="sum")  # sequences are independent
    flat = torch.autograd.grad(loss, [part for parts in states for part in parts])
    count = len(states[0])
    by_step = [torch.cat(flat[start : start + count], dim=-1) for start in range(0, len(flat), count)]
    return torch.stack([step.pow(2).sum((0, 2)).sqrt() for step in reversed(by_step)], dim=1).double().numpy()


def measure(subjects: dict[str, Subject], sequences: int, back: int) -> dict[str, Norms]:
    """Return the mean norm over sequences of held-out text, (K,), of each model."""
    found = {}
    for name, subject in subjects.items():
        ids = subject.held_out(sequences * (2 * back + 1))
        length = len(ids) // sequences
        ids = ids[: sequences * length].reshape(sequences, length)
        found[name] = gradient_norms(subject.module().double(), ids, back)  # float32 underflows
    return {name: norms.mean(0) for name, norms in found.items()}


def draw(found: dict[str, Norms], folder: Path) -> list[Path]:
    """Draw the norms, as shares of the first."""
    with style():
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots()
        for name, norms in found.items():
            colour = COLOURS.get(name.rpartition("=")[2])
            axes.plot(np.arange(1, len(norms) + 1), norms / norms[0], label=name.rpartition("=")[2], color=colour)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(xlabel="k, characters back", ylabel="gradient norm, share of k = 1")
        axes.legend()
    return [save_figure(figure, folder / "backpropagation.svg")]


def tell(found: dict[str, Norms]) -> str:
    """Format the numbers as lines."""
    names = [name.rpartition("=")[2] for name in found]
    back = len(next(iter(found.values())))
    rows = [k for k in (1, 2, 4, 8, 16, 32, 64, 128, 256) if k <= back]
    lines = ["    k" + "".join(f"{name:>11}" for name in names)]
    return "\n".join(lines + [f"{k:5}" + "".join(f"{norms[k - 1]:11.2g}" for norms in found.values()) for k in rows])
