"""How this project's pictures look, and how they are written.

The same picture gives the same bytes: the user's matplotlibrc has no say, and no date is written.


Draws the losses of runs, one or several, in one picture. No window, and nothing of pyplot's global state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, filterwarnings

import matplotlib as mpl

from char_rnn.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
import math
from collections.abc import Sequence
from functools import partial
from operator import mul

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from char_rnn.runs.curves import Look, X, common_unit, coordinates, curve, labels, places, spread, y_range
from char_rnn.runs.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SUFFIXES: dict[str, dict[str, Any]] = {  # and what is not written into each
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


@contextmanager
def style() -> Iterator[None]:
    """Draw in the project's own style, whatever the user's is; a script that the font lacks is no fault."""
    with mpl.rc_context(), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from")
        filterwarnings("ignore", "Matplotlib currently does not support")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure in the format that the suffix names, in one step; the same figure gives the same bytes.

    Raises:
        ValueError, FileNotFoundError: as ``check_picture``.
    """
    path = check_picture(path)
    suffix = path.suffix.lower()
    with style(), replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=SUFFIXES[suffix])
    return path


def check_picture(path: str | Path) -> Path:
    """Return the path of a picture that is to be written.

    Raises:
        ValueError: its suffix names no known format, or it is a folder.
        FileNotFoundError: the folder for it is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a picture's name must end in one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder")
    return path


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
MOST_LABELS = 4  # of more runs the values stand in the legend alone


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
    look = Look(x, 1 / math.log(2) if bits else 1.0, smooth, common_unit(drawn))
    with style():
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(**MARGINS)
        axes = figure.add_subplot()
        few = len(drawn) <= MOST_LABELS
        ends = [_draw(axes, look, number, history) for number, history in enumerate(drawn)]
        _label_axes(axes, look)
        axes.set_xlim(0, (1.12 if few else 1.03) * max(ends) or 1)
        axes.set_ylim(*(look.scale * limit for limit in y_range(drawn)))
        if few:
            _label_best(axes, look, drawn)
        _legends(axes, look, drawn)
    return figure


def _looks(number: int) -> tuple[str, str]:
    """Return the colour and the marker of a run; no two of the first 56 are alike."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _draw(axes: Axes, look: Look, number: int, history: History) -> float:
    """Draw all of a run but the label of its best; return where it ends."""
    colour, marker = _looks(number)
    train, val, test = map(history.finite, ("train", "val", "test"))
    xs, ys = curve(look, history, train, look.smooth)
    axes.plot(xs, ys, color=colour, alpha=0.45, linewidth=0.9, marker="." if len(train) == 1 else None,
              gid=f"run{number}-train", zorder=2)  # fmt: skip
    xs, ys = curve(look, history, val)
    every = max(1, math.ceil(len(val) / MOST_MARKERS))
    axes.plot(xs, ys, color=colour, linewidth=1.4, marker=marker, markersize=4, markevery=every,
              gid=f"run{number}-val", zorder=3)  # fmt: skip
    if best := history.best:
        xs, ys = curve(look, history, [best])
        axes.plot(xs, ys, marker="o", markersize=10, markerfacecolor="none", markeredgecolor=colour,
                  markeredgewidth=1.4, gid=f"run{number}-best", zorder=5)  # fmt: skip
    if test:
        xs, ys = curve(look, history, test[-1:])
        axes.plot(xs, ys, color=colour, marker="*", markersize=10, markeredgecolor="white", linestyle="none",
                  gid=f"run{number}-test", zorder=6)  # fmt: skip
    for place in places(look, history, history.rollbacks):
        axes.axvline(place, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), gid=f"run{number}-rollback", zorder=1)
    ends = coordinates(look, history, [*train, *val, *test])
    if not np.isfinite(ends).all():
        raise ValueError(f"{history.folder}: its records do not tell the {look.x} of each loss; draw it over steps")
    return float(ends.max())


def _label_axes(axes: Axes, look: Look) -> None:
    names = [f"nats per {look.unit}", f"bits per {look.unit}"]
    left, right = names if look.scale == 1 else names[::-1]
    other = 1 / math.log(2) if look.scale == 1 else math.log(2)
    axes.set_xlabel(X_LABELS[look.x].format(unit=look.unit))
    axes.set_ylabel(f"loss, {left}")
    if look.x == "steps":
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    second = axes.secondary_yaxis("right", functions=(partial(mul, other), partial(mul, 1 / other)))
    second.set_ylabel(right)
    second.spines["right"].set_visible(False)


def _label_best(axes: Axes, look: Look, histories: Sequence[History]) -> None:
    """Write the best of each run by its mark: right of one at the picture's end, else below; none over another."""
    low, high = axes.get_ylim()
    points = 72 * SIZE[1] * (MARGINS["top"] - MARGINS["bottom"]) / (high - low)  # of a unit of the loss
    bests = [(number, history, best) for number, history in enumerate(histories) if (best := history.best) is not None]
    marks = [(n, float(coordinates(look, history, [best])[0]), look.scale * best.loss) for n, history, best in bests]
    for at_end, (dx, dy) in {True: (10.0, 0.0), False: (0.0, -1.5 * LINE_HEIGHT)}.items():
        beside = [mark for mark in marks if (mark[1] > 0.85 * axes.get_xlim()[1]) == at_end]
        heights = spread([points * loss + dy for _, _, loss in beside], LINE_HEIGHT)
        for (number, x, loss), height in zip(beside, heights, strict=True):
            label = axes.annotate(f"{loss:.4f}", (x, loss), (dx, height - points * loss), textcoords="offset points",
                                  color=_looks(number)[0], ha="left" if at_end else "center", va="center", fontsize=9,
                                  fontweight="bold", gid=f"run{number}-label", zorder=7)  # fmt: skip
            label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _legends(axes: Axes, look: Look, histories: Sequence[History]) -> None:
    """Name the runs in the picture, where curves that fall leave room, and the kinds of marks above it."""
    handles = []
    for number, history in enumerate(histories):
        colour, marker = _looks(number)
        handles.append(Line2D([], [], color=colour, marker=marker if history.best else None, markersize=5))
    texts = [_described(look, name, history) for name, history in zip(labels(histories), histories, strict=True)]
    runs = axes.legend(handles, ["run"] * len(handles), loc="upper right")
    for text, shown in zip(runs.get_texts(), texts, strict=True):  # set here, where no character has a meaning
        text.set_parse_math(False)
        text.set_text(shown)
    runs.set_zorder(8)
    axes.add_artist(runs)
    kinds = {kind: handle for kind, handle in _kinds().items() if any(_has(history, kind) for history in histories)}
    axes.legend(kinds.values(), kinds.keys(), loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(kinds),
                labelcolor=GREY)  # fmt: skip


def _described(look: Look, name: str, history: History) -> str:
    """Return a run's name with its best validation loss, and its test loss where it has one."""
    measured = [("best", history.best), ("test", next(reversed(history.finite("test")), None))]
    losses = [f"{kind} {look.scale * point.loss:.4f}" for kind, point in measured if point is not None]
    return ", ".join([name, *losses])


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
