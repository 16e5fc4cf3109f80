"""Draws the losses of runs, one or several, in one picture. No window, and nothing of pyplot's global state.

The same runs give the same bytes: the user's matplotlibrc has no say, and no date is written.
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

from char_rnn.model_file import replacing
from char_rnn.training.history import CONFIG, History, Point
from char_rnn.training.plot_layout import spread, y_range
from char_rnn.utils.config import load_config

if TYPE_CHECKING:
    from matplotlib.axes import Axes

X = Literal["steps", "epochs", "minutes", "characters"]
X_LABELS = {
    "steps": "steps",
    "epochs": "epochs",
    "minutes": "minutes, evaluations included",
    "characters": "{unit}s read, in millions",
}
SUFFIXES: dict[str, dict[str, Any]] = {  # and what is not written into each
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
GREY = "#555555"
MOST_MARKERS = 40
SIZE, MARGINS = (8.0, 5.0), {"left": 0.085, "right": 0.915, "bottom": 0.105, "top": 0.925}
LINE_HEIGHT = 12.0
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
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "char-rnn",
    "svg.fonttype": "none",  # the reader's own fonts have more scripts
}


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


def loss_figure(histories: Sequence[History], *, x: X = "steps", bits: bool = False, smooth: int = 1) -> Figure:
    """Draw the losses of runs: training thin, validation with markers, the best of it ringed with its value.

    Args:
        histories: from ``read_history``; at least one with a finite loss. The others are left out, as is any loss that
            is not finite. Losses far above the rest (the first ones, an explosion) lie above the picture.
        x: what is along the axis; characters are steps times the characters of a batch.
        bits: draw bits on the left and nats on the right, instead of the reverse.
        smooth: average the training loss over so many records.

    Raises:
        ValueError: there is nothing to draw, or the records do not tell what ``x`` asks for.
    """
    drawn = [history for history in histories if any(map(history.finite, history.points))]
    if not drawn:
        raise ValueError(f"{', '.join(str(history.folder) for history in histories)}: no loss has been measured yet")
    look = Look(x, 1 / math.log(2) if bits else 1.0, smooth, _unit(drawn))
    with _style():
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(**MARGINS)
        axes = figure.add_subplot()
        ends = [_draw(axes, look, number, history) for number, history in enumerate(drawn)]
        _label_axes(axes, look, max(ends))
        axes.set_ylim(*(look.scale * limit for limit in y_range(drawn)))
        _label_best(axes, look, drawn)
        _legends(axes, drawn)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format that the suffix names, in one step; the same figure gives the same bytes.

    Raises:
        ValueError: the suffix is none of ``SUFFIXES``.
        FileNotFoundError: the folder is not there.
    """
    path = check_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder")
    suffix = path.suffix.lower()
    with _style(), replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=SUFFIXES[suffix])
    return path


def check_suffix(path: str | Path) -> Path:
    """Return the path of a picture.

    Raises:
        ValueError: its suffix names no known format.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a picture's name ends in one of {', '.join(SUFFIXES)}")
    return path


def labels(histories: Sequence[History]) -> list[str]:
    """Return what to call each run: its folder's name, or its path where names are alike; printable, and not long."""
    names = [history.folder.resolve().name for history in histories]
    chosen = [
        name if names.count(name) == 1 else str(history.folder) for name, history in zip(names, histories, strict=True)
    ]
    printable = ["".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) for name in chosen]
    return [name if len(name) <= 40 else f"{name[:19]}\N{HORIZONTAL ELLIPSIS}{name[-20:]}" for name in printable]


@contextmanager
def _style() -> Iterator[None]:
    """Draw by our own style, whatever the user's is; a script that the font lacks is no reason to complain."""
    with mpl.rc_context(), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from")
        filterwarnings("ignore", "Matplotlib currently does not support")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _unit(histories: Sequence[History]) -> str:
    units = {history.unit for history in histories}
    return units.pop() if len(units) == 1 else "symbol"


def _looks(number: int) -> tuple[str, str]:
    """Return the colour and the marker of a run; no two of the first 56 are alike."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _draw(axes: Axes, look: Look, number: int, history: History) -> float:
    """Draw all of a run but the label of its best; return where it ends."""
    colour, marker = _looks(number)
    train, val, test = (history.finite(split) for split in ("train", "val", "test"))
    xs, ys = _curve(look, history, train, look.smooth)
    axes.plot(xs, ys, color=colour, alpha=0.45, linewidth=0.9, gid=f"run{number}-train", zorder=2)
    xs, ys = _curve(look, history, val)
    every = max(1, math.ceil(len(val) / MOST_MARKERS))
    axes.plot(xs, ys, color=colour, linewidth=1.4, marker=marker, markersize=4, markevery=every,
              gid=f"run{number}-val", zorder=3)  # fmt: skip
    if test:
        xs, ys = _curve(look, history, test[-1:])
        axes.plot(xs, ys, color=colour, marker="*", markersize=10, markeredgecolor="white", linestyle="none",
                  gid=f"run{number}-test", zorder=6)  # fmt: skip
    for place in _places(look, history, history.rollbacks):
        axes.axvline(place, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), gid=f"run{number}-rollback", zorder=1)
    ends = _coordinates(look, history, [*train, *val, *test])
    if not np.isfinite(ends).all():
        raise ValueError(f"{history.folder}: its records do not tell the {look.x} of each loss; draw it over steps")
    return float(ends.max())


def _curve(look: Look, history: History, points: Sequence[Point], smooth: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of a line, averaged over ``smooth`` points and broken where the run went back."""
    xs, ys = _coordinates(look, history, points), np.array([look.scale * point.loss for point in points])
    if smooth > 1 and len(ys) > 1:
        window = np.ones(min(smooth, len(ys)))
        ys = np.convolve(ys, window, "same") / np.convolve(np.ones_like(ys), window, "same")
    back = np.flatnonzero(np.diff(xs) < 0) + 1
    return np.insert(xs, back, np.nan), np.insert(ys, back, np.nan)


def _coordinates(look: Look, history: History, points: Sequence[Point]) -> np.ndarray:
    if look.x == "epochs":
        return np.array([point.epoch for point in points], float)
    if look.x == "minutes":
        return np.array([point.seconds / 60 for point in points], float)
    steps = np.array([point.step for point in points], float)
    return steps * _millions_in_a_step(history) if look.x == "characters" else steps


def _millions_in_a_step(history: History) -> float:
    training = load_config(history.folder / CONFIG).training
    return training.batch_size * training.seq_length / 1e6


def _places(look: Look, history: History, steps: Sequence[int]) -> list[float]:
    """Return where steps lie, between the measurements around them."""
    points = sorted(point for split in history.points for point in history.finite(split))
    known = [point.step for point in points]
    return [float(place) for place in np.interp(steps, known, _coordinates(look, history, points))]


def _label_axes(axes: Axes, look: Look, end: float) -> None:
    names = [f"nats per {look.unit}", f"bits per {look.unit}"]
    left, right = names if look.scale == 1 else names[::-1]
    other = 1 / math.log(2) if look.scale == 1 else math.log(2)
    axes.set_xlabel(X_LABELS[look.x].format(unit=look.unit))
    axes.set_ylabel(f"loss, {left}")
    axes.set_xlim(0, 1.12 * end if end > 0 else 1)
    if look.x == "steps":
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    second = axes.secondary_yaxis("right", functions=(partial(mul, other), partial(mul, 1 / other)))
    second.set_ylabel(right)
    second.spines["right"].set_visible(False)


def _label_best(axes: Axes, look: Look, histories: Sequence[History]) -> None:
    """Ring the best of each run and write its loss beside it, no label over another."""
    bests = [(number, history, best) for number, history in enumerate(histories) if (best := history.best) is not None]
    low, high = axes.get_ylim()
    height = 72 * SIZE[1] * (MARGINS["top"] - MARGINS["bottom"])
    natural = [(look.scale * best.loss - low) / (high - low) * height for _, _, best in bests]
    for (number, history, best), at, to in zip(bests, natural, spread(natural, LINE_HEIGHT), strict=True):
        colour, _ = _looks(number)
        place = float(_coordinates(look, history, [best])[0]), look.scale * best.loss
        axes.plot(*place, marker="o", markersize=10, markerfacecolor="none", markeredgecolor=colour,
                  markeredgewidth=1.4, gid=f"run{number}-best", zorder=5)  # fmt: skip
        label = axes.annotate(f"{place[1]:.4f}", place, (10, to - at), textcoords="offset points", color=colour,
                              va="center", fontsize=9, fontweight="bold", gid=f"run{number}-label",
                              zorder=7)  # fmt: skip
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _legends(axes: Axes, histories: Sequence[History]) -> None:
    """Name the runs in the picture, where curves that fall leave room, and the kinds of marks above it."""
    handles = []
    for number in range(len(histories)):
        colour, marker = _looks(number)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.4))
    texts = [_described(name, history) for name, history in zip(labels(histories), histories, strict=True)]
    runs = axes.legend(handles, ["run"] * len(handles), loc="upper right", fontsize=9)
    for text, shown in zip(runs.get_texts(), texts, strict=True):  # set here, where no character has a meaning
        text.set_parse_math(False)
        text.set_text(shown)
    axes.add_artist(runs)
    kinds = {kind: handle for kind, handle in _kinds().items() if any(_has(history, kind) for history in histories)}
    axes.legend(kinds.values(), kinds.keys(), loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(kinds),
                fontsize=9, labelcolor=GREY)  # fmt: skip


def _described(name: str, history: History) -> str:
    test = history.finite("test")
    return f"{name}, test {test[-1].loss:.4f}" if test else name


def _kinds() -> dict[str, Line2D]:
    def grey(**look: Any) -> Line2D:
        return Line2D([], [], color=GREY, **look)

    return {
        "training": grey(alpha=0.6, linewidth=0.9),
        "validation": grey(linewidth=1.4, marker="o", markersize=4),
        "best validation": grey(linestyle="none", marker="o", markersize=9, markerfacecolor="none"),
        "test, best model": grey(linestyle="none", marker="*", markersize=10, markeredgecolor="white"),
        "rollback": grey(linewidth=0.8, linestyle=(0, (1, 2))),
    }


def _has(history: History, kind: str) -> bool:
    splits = {"training": "train", "validation": "val", "best validation": "val", "test, best model": "test"}
    return bool(history.rollbacks if kind == "rollback" else history.finite(splits[kind]))
