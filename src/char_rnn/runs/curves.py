"""Where in a picture the losses lie, what part of them it shows, and how runs are called; nothing of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from char_rnn.runs import CONFIG
from char_rnn.runs.history import History, Point
from char_rnn.utils.config import load_config

X = Literal["steps", "epochs", "minutes", "characters"]
TOO_MUCH = 12.0  # nats: more than any alphabet of Unicode needs


@dataclass(frozen=True)
class Look:
    """What is the same for all that is drawn of a picture's runs.

    Attributes:
        x: what is along the axis.
        scale: nats times this are what is drawn.
        smooth: over how many records the training loss is averaged.
        unit: what the models predict, character or byte.
    """

    x: X
    scale: float
    smooth: int
    unit: str


def curve(look: Look, history: History, points: Sequence[Point], smooth: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of a line, averaged over ``smooth`` points and broken where the run went back."""
    xs, ys = coordinates(look, history, points), np.array([look.scale * point.loss for point in points])
    if smooth > 1 and len(ys) > 1:
        window = np.ones(min(smooth, len(ys)))
        ys = np.convolve(ys, window, "same") / np.convolve(np.ones_like(ys), window, "same")
    back = np.flatnonzero(np.diff(xs) < 0) + 1
    return np.insert(xs, back, np.nan), np.insert(ys, back, np.nan)


def coordinates(look: Look, history: History, points: Sequence[Point]) -> np.ndarray:
    """Return where measurements lie along the axis; NaN where their records do not tell."""
    if look.x == "epochs":
        return np.array([point.epoch for point in points], float)
    if look.x == "minutes":
        return np.array([point.seconds / 60 for point in points], float)
    steps = np.array([point.step for point in points], float)
    return steps * _millions_in_a_step(history) if look.x == "characters" else steps


def _millions_in_a_step(history: History) -> float:
    training = load_config(history.folder / CONFIG).training
    return training.sequences * training.seq_length / 1e6


def places(look: Look, history: History, steps: Sequence[int]) -> list[float]:
    """Return where steps lie, between the measurements around them."""
    points = sorted(point for split in history.points for point in history.finite(split))
    known = [point.step for point in points]
    return [float(place) for place in np.interp(steps, known, coordinates(look, history, points))]


def y_range(histories: Sequence[History]) -> tuple[float, float]:
    """Return the lowest and the highest loss, in nats, that a picture of these runs shows.

    The first losses of a run, and those of an explosion, would press all that matters into a line: of each curve the
    highest 7% are left out, and whatever is more than a nat, and six times as far as its median, above its lowest.
    """
    curves = [losses for history in histories for losses in _curves(history)]
    low = min(float(losses.min()) for losses in curves)
    high = max(_top(losses) for losses in curves)
    span = max(high - low, 0.1)
    return max(0.0, low - 0.1 * span), low + 1.1 * span


def _curves(history: History) -> list[np.ndarray]:
    """Return the losses of each split that are not beyond all measure, or all of them when all are."""
    curves = []
    for split in history.points:
        losses = np.array([point.loss for point in history.finite(split)])
        if len(losses):
            usual = losses[losses < TOO_MUCH]
            curves.append(usual if len(usual) else losses)
    return curves


def _top(losses: np.ndarray) -> float:
    low = float(losses.min())
    return min(float(np.quantile(losses, 0.93)), low + max(1.0, 6 * (float(np.median(losses)) - low)))


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return the places nearest to the given ones (least squares) that lie at least ``gap`` apart, in the same order.

    Pool adjacent violators (Barlow et al. 1972) on the places less what the gaps below them need.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[list[float]] = []
    for rank, i in enumerate(order):
        blocks.append([places[i] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [float(np.mean(block)) for block in blocks for _ in block]
    spaced = {i: mean + rank * gap for rank, (i, mean) in enumerate(zip(order, means, strict=True))}
    return [spaced[i] for i in range(len(places))]


def labels(histories: Sequence[History]) -> list[str]:
    """Return what to call each run: its folder's name, or its path where names are alike; printable, and not long."""
    names = [history.folder.resolve().name for history in histories]
    chosen = [
        name if names.count(name) == 1 else str(history.folder) for name, history in zip(names, histories, strict=True)
    ]
    printable = ["".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) for name in chosen]
    return [name if len(name) <= 40 else f"{name[:19]}\N{HORIZONTAL ELLIPSIS}{name[-20:]}" for name in printable]


def common_unit(histories: Sequence[History]) -> str:
    """Return what the models predict, "symbol" where they differ."""
    units = {history.unit for history in histories}
    return units.pop() if len(units) == 1 else "symbol"
