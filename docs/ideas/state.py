"""The effect of the carried state: the loss by position in a window, and with the state reset at intervals.

Dimensions: N characters, W windows, T characters of each, B windows at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from reading import Ids, Subject

from char_rnn.models import CharModel
from char_rnn.runs.plots import save_figure, style

Losses = npt.NDArray[np.float64]
WINDOW = 64
RESETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_AT_ONCE = 1 << 14  # characters


@torch.inference_mode()
def carried_losses(model: CharModel, ids: Ids) -> Losses:
    """Read a text (N + 1,) as one stream; return the loss of each of its N predictions, (N,), in nats."""
    hidden, losses = None, []
    for start in range(0, len(ids) - 1, _AT_ONCE):
        piece = torch.from_numpy(ids[start : start + _AT_ONCE + 1])
        log_probs, hidden = model(piece[None, :-1], hidden)
        losses.append(-log_probs[0].gather(1, piece[1:, None])[:, 0])
    return torch.cat(losses).double().numpy()


@torch.inference_mode()
def reset_losses(model: CharModel, ids: Ids, window: int) -> Losses:
    """As :func:`carried_losses`, from a zero state every T = ``window`` characters: (W, T), complete windows only."""
    count = (len(ids) - 1) // window
    x, y = (torch.from_numpy(part[: count * window].reshape(count, window)) for part in (ids[:-1], ids[1:]))
    rows = max(1, _AT_ONCE // window)
    losses = []
    for start in range(0, count, rows):
        part, of = x[start : start + rows], y[start : start + rows]
        losses.append(-model(part)[0].gather(2, of[:, :, None])[:, :, 0])
    return torch.cat(losses).double().numpy()


def measure(subject: Subject, characters: int, window: int = WINDOW) -> dict[str, Any]:
    """Return the mean losses by position in a window, (T,), and by interval of resets."""
    model, ids = subject.module(), subject.held_out(characters + 1)
    carried = carried_losses(model, ids)
    whole = len(carried) // window * window
    resets = [every for every in RESETS if every <= len(carried)]
    return {
        "characters": len(carried),
        "carried": carried[:whole].reshape(-1, window).mean(0),
        "zero": reset_losses(model, ids, window).mean(0),
        "resets": {every: float(reset_losses(model, ids, every).mean()) for every in resets},
        "never": float(carried.mean()),
    }


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """Draw both."""
    with style():
        figure = Figure(figsize=(8, 3), layout="constrained")
        places, resets = figure.subplots(1, 2, sharey=True)
        numbers = np.arange(1, len(found["zero"]) + 1)
        places.plot(numbers, found["zero"], color="#d95f02", label="from a zero state")
        places.plot(numbers, found["carried"], color="#1b6ca8", label="state carried over")
        places.set(xlabel="character of the window", ylabel="loss, nats per character")
        places.legend()
        resets.plot(list(found["resets"]), list(found["resets"].values()), "o-", color="#d95f02", label="reset")
        resets.axhline(found["never"], color="#1b6ca8", label="never reset")
        resets.set_xscale("log", base=2)
        resets.set(xlabel="characters from one reset of the state to the next")
        resets.legend()
    return [save_figure(figure, folder / "state.svg")]


def tell(found: dict[str, Any]) -> str:
    """Format the numbers as lines."""
    zero, carried = found["zero"], found["carried"]
    lines = [f"{found['characters']:,} characters", "", "characters of the window  carried  from zero"]
    first = 1
    while first <= len(zero):
        last = min(2 * first - 1, len(zero))
        means = (f"{part[first - 1 : last].mean():.3f}" for part in (carried, zero))
        lines.append(f"{first:>19} to {last:<3} {next(means):>6}  {next(means):>9}")
        first = last + 1
    lines += ["", "reset every    loss"]
    lines += [f"{every:>11}  {loss:.4f}" for every, loss in found["resets"].items()]
    return "\n".join([*lines, f"      never  {found['never']:.4f}"])
