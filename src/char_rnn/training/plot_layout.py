"""What part of the losses a picture shows, and where its labels go: numbers alone, nothing of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from char_rnn.training.history import History

TOO_MUCH = 12.0  # nats: more than any alphabet of Unicode needs


def y_range(histories: Sequence[History]) -> tuple[float, float]:
    """Return the lowest and the highest loss, in nats, that a picture of these runs shows.

    The first losses of a run, and those of an explosion, would press all that matters into a line: of each curve the
    highest 7% are left out, and whatever is more than six times as far above its lowest loss as its median is.
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
    return min(float(np.quantile(losses, 0.93)), low + 6 * (float(np.median(losses)) - low))


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
