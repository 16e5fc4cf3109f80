"""The figures of every question but "growth": a function each, from a report to an SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from char_rnn.bench.report import Report, shown
from char_rnn.runs.plots import COLOURS, GREY, save_figure, style

Rows = Sequence[Mapping[str, Any]]
SIZE = (8.0, 3.4)
PLAIN = FuncFormatter(lambda value, _: shown(float(value)))


def draw(report: Report, folder: Path) -> list[Path]:
    """Write every figure of a report whose table has rows; return their paths."""
    tables = {table.name: table.rows for table in report.tables}
    paths = []
    for name, (question, table, figure) in FIGURES.items():
        if question == report.question and tables.get(table):
            with _drawn(folder / f"{name}.svg") as axes:
                figure(axes, tables[table])
            paths.append(folder / f"{name}.svg")
    return paths


def training_step(axes: Axes, rows: Rows) -> None:
    """Draw characters/s of each side, shape by shape."""
    names = [row["case"].replace(": ", "\n").replace(", ", "\n") for row in rows]
    _bars(axes, names, {side: [row[side] for row in rows] for side in ("sketch", "bare", "char-rnn")})
    axes.set_ylabel("characters/s")
    axes.set_title("Training: characters predicted a second")


def training_epoch(axes: Axes, rows: Rows) -> None:
    """Draw how long an epoch takes."""
    names = [row["case"].partition(":")[0] for row in rows]
    minutes = {side: [row[f"{side}, minutes"] for row in rows] for side in ("sketch", "char-rnn")}
    _bars(axes, names, minutes)
    axes.set_yscale("log")
    axes.set_ylabel("minutes, logarithmic")
    axes.set_title("An epoch of a million characters")


def writing(axes: Axes, rows: Rows) -> None:
    """Draw characters/s of each way of writing, model by model."""
    models = {f"{row['cell']}\n2x{row['hidden']}": row for row in rows if row["precision"] == "float32"}
    sides = {side: [row[side] for row in models.values()] for side in ("sketch", "loop")}
    for precision in ("float32", "bfloat16", "int8"):
        sides[f"char-rnn, {precision}"] = [row["char-rnn"] for row in rows if row["precision"] == precision]
    _bars(axes, list(models), sides)
    axes.set_yscale("log")
    axes.set_ylabel("characters/s, logarithmic")
    axes.set_title("Writing one text")


def writing_together(axes: Axes, rows: Rows) -> None:
    """Draw the cost of a character over the texts side by side."""
    texts = [row["texts"] for row in rows]
    axes.plot(texts, [row["µs a character"] for row in rows], color=COLOURS[2], marker="o", label="the engine")
    alone = [row["µs a character"] * row["engine / products"] for row in rows]
    axes.plot(texts, alone, color=GREY, linestyle="--", label="PyTorch's products alone")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(texts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_ylim(0)
    axes.set_xlabel("texts side by side")
    axes.set_ylabel("µs a character")
    axes.set_title(f"Writing many texts, {rows[0]['cell']} 2x{rows[0]['hidden']}")
    axes.legend()


def layers(axes: Axes, rows: Rows) -> None:
    """Draw the speed of each layer over PyTorch's module."""
    names = list(dict.fromkeys(f"{row['layer']}\n{row['hidden']}" for row in rows))
    sides = {
        "training": [row["speed-up"] for row in rows if row["task"] == "train"],
        "one character": [row["speed-up"] for row in rows if row["task"] == "step"],
    }
    _bars(axes, names, sides)
    axes.axhline(1, color=GREY, linewidth=1)
    axes.set_ylabel("speed over PyTorch's module")
    axes.set_title("Recurrent layers")


def quality(axes: Axes, rows: Rows) -> None:
    """Draw the loss that each side comes to."""
    positions = np.arange(len(rows))
    axes.bar(positions, [row["loss"] for row in rows], 0.5, color=[_colour(row["side"]) for row in rows])
    for position, row in zip(positions, rows, strict=True):
        axes.annotate(shown(row["loss"]), (position, row["loss"]), ha="center", va="bottom", fontsize=9)
    axes.set_xticks(positions, [row["side"] for row in rows])
    axes.set_ylabel("nats per character")
    axes.set_title("Validation loss after equal time (lower is better)")


Draw = Callable[[Axes, Rows], None]
FIGURES: dict[str, tuple[str, str, Draw]] = {  # question, table, what draws it
    "training-step": ("training", "a step", training_step),
    "training-epoch": ("training", "an epoch", training_epoch),
    "writing": ("generation", "one text", writing),
    "writing-together": ("generation", "texts side by side", writing_together),
    "layers": ("ops", "layers", layers),
    "quality": ("quality", "equal time", quality),
}


@contextmanager
def _drawn(path: Path) -> Iterator[Axes]:
    """Give a picture on white, and write it."""
    with style():
        figure = Figure(figsize=SIZE, layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.title.set_fontsize(10)
        yield axes
    save_figure(figure, path)


def _bars(axes: Axes, names: Sequence[str], sides: Mapping[str, Sequence[float]]) -> None:
    """Draw groups of bars, one for each side."""
    positions, width = np.arange(len(names)), 0.8 / len(sides)
    for number, (side, values) in enumerate(sides.items()):
        axes.bar(positions + (number + 0.5) * width - 0.4, values, width * 0.92, color=_colour(side), label=side)
    axes.set_xticks(positions, names, fontsize=8)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.legend(fontsize=8)


def _colour(side: str) -> str:
    """Return a side's colour, the same in every picture."""
    order = ("bare", "sketch", "char-rnn", "char-rnn, bfloat16", "char-rnn, int8")
    same = {"loop": "bare", "char-rnn, float32": "char-rnn", "training": "char-rnn", "one character": "bare"}
    return COLOURS[order.index(same.get(side, side))]
