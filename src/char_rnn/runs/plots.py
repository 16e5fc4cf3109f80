"""Plots the losses of runs, and writes plots to files.

The same plot gives the same bytes: the user's matplotlibrc is not used, and no date is written. No window opens, and
pyplot's global state is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from warnings import catch_warnings, filterwarnings

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from char_rnn.runs import CONFIG
from char_rnn.runs.history import History, Measurement
from char_rnn.utils.config import load_config
from char_rnn.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

X = Literal["steps", "epochs", "minutes", "characters"]
TOO_MUCH = 12.0  # nats: more than any alphabet of Unicode needs
SUFFIXES: dict[str, dict[str, Any]] = {  # formats, and the metadata that is left out of each
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}
GREY = "#555555"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.fontsize": 9,
    "legend.edgecolor": "none",
    "savefig.dpi": 150,
    "svg.hashsalt": "char-rnn",
    "svg.fonttype": "none",  # the reader's own fonts have more scripts
}
X_LABELS = {
    "steps": "steps",
    "epochs": "epochs",
    "minutes": "minutes, evaluations included",
    "characters": "{unit}s read, in millions",
}

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
MOST_MARKERS = 40
SIZE, MARGINS = (8.0, 5.0), {"left": 0.085, "right": 0.915, "bottom": 0.105, "top": 0.925}
LINE_HEIGHT = 12.0
KINDS: dict[str, tuple[str, dict[str, Any]]] = {  # by split: name in the legend and mark
    "train": ("training", {"alpha": 0.6, "linewidth": 0.9}),
    "val": ("validation", {"linewidth": 1.4, "marker": "o", "markersize": 4}),
    "best val": ("best validation", {"linestyle": "none", "marker": "o", "markersize": 9, "markerfacecolor": "none"}),
    "test": ("test, best model", {"linestyle": "none", "marker": "*", "markersize": 10, "markeredgecolor": "white"}),
    "rollback": ("rollback", {"linewidth": 0.8, "linestyle": (0, (1, 2))}),
}
MOST_LABELS = 4  # with more runs the values are in the legend only


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


@contextmanager
def style() -> Iterator[None]:
    """Use the project's style, whatever the user's is; a script that the font lacks is not an error."""
    with mpl.rc_context(), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from")
        filterwarnings("ignore", "Matplotlib currently does not support")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format of the suffix, atomically; the same figure gives the same bytes.

    Raises:
        ValueError, FileNotFoundError: As ``check_picture``.
    """
    path = check_picture(path)
    suffix = path.suffix.lower()
    with style(), replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=SUFFIXES[suffix])
    return path


def check_picture(path: str | Path) -> Path:
    """Return the path of a picture to write.

    Raises:
        ValueError: Its suffix is not a known format, or it is a folder.
        FileNotFoundError: Its folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a picture's name must end in one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder")
    return path


def loss_figure(histories: Sequence[History], *, x: X = "steps", bits: bool = False, smooth: int = 1) -> Figure:
    """Plot the losses of runs: training thin, validation with markers, the best one ringed with its value.

    Args:
        histories: Results of ``read_history``; at least one with a finite loss. The others are left out, as are losses
            that are not finite. Losses far above the rest (the first ones, an explosion) are above the plot's limit.
        x: Quantity of the horizontal axis; characters are steps times the characters of a batch.
        bits: Bits on the left axis and nats on the right, instead of the reverse.
        smooth: Number of records over which the training loss is averaged.

    Raises:
        ValueError: There is nothing to plot, or the records lack the quantity ``x``.
    """
    drawn = [history for history in histories if any(map(history.finite, history.points))]
    if not drawn:
        raise ValueError(f"{', '.join(str(history.folder) for history in histories)}: no loss has been measured yet")
    units = {history.unit for history in drawn}
    unit = units.pop() if len(units) == 1 else "symbol"
    options = PlotOptions(x, 1 / math.log(2) if bits else 1.0, smooth, unit)
    with style():
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(**MARGINS)
        axes = figure.add_subplot()
        few = len(drawn) <= MOST_LABELS
        ends = [_draw(axes, options, number, history) for number, history in enumerate(drawn)]
        _label_axes(axes, options)
        axes.set_xlim(0, (1.12 if few else 1.03) * max(ends) or 1)
        axes.set_ylim(*(options.scale * limit for limit in y_range(drawn)))
        if few:
            _label_best(axes, options, drawn)
        _legends(axes, options, drawn)
    return figure


def _looks(number: int) -> tuple[str, str]:
    """Return the colour and the marker of a run; the first 56 differ."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _draw(axes: Axes, options: PlotOptions, number: int, history: History) -> float:
    """Plot a run without the label of its best; return where it ends."""
    colour, marker = _looks(number)
    train, val, test = map(history.finite, ("train", "val", "test"))
    xs, ys = curve(options, history, train, options.smooth)
    axes.plot(xs, ys, color=colour, alpha=0.45, linewidth=0.9, marker="." if len(train) == 1 else None,
              gid=f"run{number}-train", zorder=2)  # fmt: skip
    xs, ys = curve(options, history, val)
    every = max(1, math.ceil(len(val) / MOST_MARKERS))
    axes.plot(xs, ys, color=colour, linewidth=1.4, marker=marker, markersize=4, markevery=every,
              gid=f"run{number}-val", zorder=3)  # fmt: skip
    if best := history.best:
        xs, ys = curve(options, history, [best])
        axes.plot(xs, ys, marker="o", markersize=10, markerfacecolor="none", markeredgecolor=colour,
                  markeredgewidth=1.4, gid=f"run{number}-best", zorder=5)  # fmt: skip
    if test:
        xs, ys = curve(options, history, test[-1:])
        axes.plot(xs, ys, color=colour, marker="*", markersize=10, markeredgecolor="white", linestyle="none",
                  gid=f"run{number}-test", zorder=6)  # fmt: skip
    for x in step_coordinates(options, history, history.rollbacks):
        axes.axvline(x, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), gid=f"run{number}-rollback", zorder=1)
    ends = coordinates(options, history, [*train, *val, *test])
    if not np.isfinite(ends).all():
        raise ValueError(f"{history.folder}: some of its records lack the {options.x}; plot it over steps")
    return float(ends.max())


def _label_axes(axes: Axes, options: PlotOptions) -> None:
    names = [f"nats per {options.unit}", f"bits per {options.unit}"]
    left, right = names if options.scale == 1 else names[::-1]
    other = 1 / math.log(2) if options.scale == 1 else math.log(2)
    axes.set_xlabel(X_LABELS[options.x].format(unit=options.unit))
    axes.set_ylabel(f"loss, {left}")
    if options.x == "steps":
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    second = axes.secondary_yaxis("right", functions=(partial(mul, other), partial(mul, 1 / other)))
    second.set_ylabel(right)
    second.spines["right"].set_visible(False)


def _label_best(axes: Axes, options: PlotOptions, histories: Sequence[History]) -> None:
    """Label the best of each run: to the right of one at the plot's end, otherwise below; labels do not overlap."""
    low, high = axes.get_ylim()
    points = 72 * SIZE[1] * (MARGINS["top"] - MARGINS["bottom"]) / (high - low)  # of a unit of the loss
    marks = [
        (number, float(coordinates(options, history, [best])[0]), options.scale * best.loss)
        for number, history in enumerate(histories)
        if (best := history.best) is not None
    ]
    for at_end, (dx, dy) in {True: (10.0, 0.0), False: (0.0, -1.5 * LINE_HEIGHT)}.items():
        beside = [mark for mark in marks if (mark[1] > 0.85 * axes.get_xlim()[1]) == at_end]
        heights = spread([points * loss + dy for _, _, loss in beside], LINE_HEIGHT)
        for (number, x, loss), height in zip(beside, heights, strict=True):
            label = axes.annotate(f"{loss:.4f}", (x, loss), (dx, height - points * loss), textcoords="offset points",
                                  color=_looks(number)[0], ha="left" if at_end else "center", va="center", fontsize=9,
                                  fontweight="bold", gid=f"run{number}-label", zorder=7)  # fmt: skip
            label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _legends(axes: Axes, options: PlotOptions, histories: Sequence[History]) -> None:
    """Label the runs at the upper right, where falling curves leave room, and the kinds of marks above the plot."""
    handles = []
    for number, history in enumerate(histories):
        colour, marker = _looks(number)
        handles.append(Line2D([], [], color=colour, marker=marker if history.best else None, markersize=5))
    texts = [_described(options, name, history) for name, history in zip(labels(histories), histories, strict=True)]
    runs = axes.legend(handles, ["run"] * len(handles), loc="upper right")
    for text, shown in zip(runs.get_texts(), texts, strict=True):  # set here, where no character has a meaning
        text.set_parse_math(False)
        text.set_text(shown)
    runs.set_zorder(8)
    axes.add_artist(runs)
    found = {split for history in histories for split in KINDS if history.finite(split.removeprefix("best "))}
    found |= {"rollback" for history in histories if history.rollbacks}
    kinds = {name: Line2D([], [], color=GREY, **mark) for split, (name, mark) in KINDS.items() if split in found}
    axes.legend(kinds.values(), kinds.keys(), loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(kinds),
                labelcolor=GREY)  # fmt: skip


def _described(options: PlotOptions, name: str, history: History) -> str:
    """Return a run's name with its best validation loss, and its test loss if it has one."""
    measured = [("best", history.best), ("test", next(reversed(history.finite("test")), None))]
    losses = [f"{kind} {options.scale * point.loss:.4f}" for kind, point in measured if point is not None]
    return ", ".join([name, *losses])


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
    splits = (np.array([point.loss for point in history.finite(split)]) for split in history.points)
    return [losses[losses < TOO_MUCH] if losses.min() < TOO_MUCH else losses for losses in splits if len(losses)]


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
