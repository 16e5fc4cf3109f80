"""The numbers of a loss plot: coordinates, limits and labels. Does not import matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from char_rnn.runs import CONFIG
from char_rnn.runs.history import History, Measurement
from char_rnn.utils.config import load_config

X = Literal["steps", "epochs", "minutes", "characters"]
TOO_MUCH = 12.0  # nats: more than any alphabet of Unicode needs


@dataclass(frozen=True)
class PlotOptions:
    """Options of a whole plot.

    Attributes:
        x: Quantity of the horizontal axis.
        scale: Factor from nats to the plotted unit.
        smooth: Number of records over which the training loss is averaged.
        unit: Unit of prediction, character or byte.
    """

    x: X
    scale: float
    smooth: int
    unit: str


def curve(
    options: PlotOptions, history: History, points: Sequence[Measurement], smooth: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of a line, averaged over ``smooth`` points and broken at rollbacks."""
    xs, ys = coordinates(options, history, points), np.array([options.scale * point.loss for point in points])
    if smooth > 1 and len(ys) > 1:
        window = np.ones(min(smooth, len(ys)))
        ys = np.convolve(ys, window, "same") / np.convolve(np.ones_like(ys), window, "same")
    back = np.flatnonzero(np.diff(xs) < 0) + 1
    return np.insert(xs, back, np.nan), np.insert(ys, back, np.nan)


def coordinates(options: PlotOptions, history: History, points: Sequence[Measurement]) -> np.ndarray:
    """Return the horizontal coordinates of measurements; NaN if unknown."""
    if options.x == "epochs":
        return np.array([point.epoch for point in points], float)
    if options.x == "minutes":
        return np.array([point.seconds / 60 for point in points], float)
    steps = np.array([point.step for point in points], float)
    if options.x == "steps":
        return steps
    training = load_config(history.folder / CONFIG, any_cell=True).training
    return steps * (training.sequences * training.seq_length / 1e6)  # in millions of characters


def step_coordinates(options: PlotOptions, history: History, steps: Sequence[int]) -> list[float]:
    """Return the coordinates of steps, interpolated between measurements."""
    points = sorted(point for split in history.points for point in history.finite(split))
    known = [point.step for point in points]
    return [float(x) for x in np.interp(steps, known, coordinates(options, history, points))]


def y_range(histories: Sequence[History]) -> tuple[float, float]:
    """Return the lowest and the highest loss, in nats, that a plot of these runs shows.

    The first losses of a run, or those of an explosion, would flatten the rest of the curve. So the highest 7% of each
    curve are outside, and everything that is more than a nat, and six times as far as its median, above its lowest.
    """
    curves = [losses for history in histories for losses in _curves(history)]
    low = min(float(losses.min()) for losses in curves)
    high = max(_top(losses) for losses in curves)
    span = max(high - low, 0.1)
    return max(0.0, low - 0.1 * span), low + 1.1 * span


def _curves(history: History) -> list[np.ndarray]:
    """Return the losses of each split below `TOO_MUCH`, or all if none are."""
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


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Return the heights nearest to the given ones (least squares) that are at least ``gap`` apart, in the same order.

    Pool adjacent violators (Barlow et al. 1972) on the heights minus the gaps below them.
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    blocks: list[list[float]] = []
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [float(np.mean(block)) for block in blocks for _ in block]
    spaced = {i: mean + rank * gap for rank, (i, mean) in enumerate(zip(order, means, strict=True))}
    return [spaced[i] for i in range(len(heights))]


def labels(histories: Sequence[History]) -> list[str]:
    """Return the label of each run: its folder's name, or its path if names are equal; printable and short."""
    names = [history.folder.resolve().name for history in histories]
    chosen = [
        name if names.count(name) == 1 else str(history.folder) for name, history in zip(names, histories, strict=True)
    ]
    printable = ["".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) for name in chosen]
    return [name if len(name) <= 40 else f"{name[:19]}\N{HORIZONTAL ELLIPSIS}{name[-20:]}" for name in printable]


def common_unit(histories: Sequence[History]) -> str:
    """Return the unit of prediction, "symbol" if the runs differ."""
    units = {history.unit for history in histories}
    return units.pop() if len(units) == 1 else "symbol"
