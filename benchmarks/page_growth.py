"""The figures of the question "growth": a function each, from a report to an SVG.

python benchmarks/page_growth.py growth.json docs/images
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from char_rnn.bench.report import Report
from char_rnn.runs.plots import COLOURS, GREY, save_figure, style

Rows = Sequence[Mapping[str, Any]]
BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
SIZE = (9.0, 3.8)
PLAIN = FuncFormatter(lambda value, _: f"{value:,.3g}" if value < 1000 else f"{value:,.0f}")


def main() -> None:
    """Draw all figures of a report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("report", type=Path)
    options.add_argument("folder", type=Path)
    arguments = options.parse_args()
    for path in draw(Report.read(arguments.report), arguments.folder):
        print(path)


def draw(report: Report, folder: Path) -> list[Path]:
    """Write every figure whose tables have rows; return their paths."""
    return [
        figure(report, folder / f"{name}.svg")
        for name, (figure, tables) in FIGURES.items()
        if all(report.rows(table) for table in tables)
    ]


def machine(report: Report, path: Path) -> Path:
    """Draw how fast arrays of growing size are read, and how fast matrices of each shape are multiplied."""
    with _drawn(path) as (left, right):
        threads = sorted({row["threads"] for row in report.rows("reading memory")})
        for colour, count in zip(COLOURS, threads, strict=False):
            rows = [row for row in report.rows("reading memory") if row["threads"] == count]
            _line(left, rows, "read, MB", "GB/s", colour, _threads(count))
        _logarithmic(left, "size, MB", "GB/s")
        _caches(left, report)
        left.set_title("Reading memory over and over")
        left.legend()
        kinds = {"square": "o", "a step": "s", "a batch": "^"}
        for colour, count in zip(COLOURS, threads, strict=False):
            for kind, marker in kinds.items():
                rows = [
                    row for row in report.rows("matrix products") if row["threads"] == count and row["products"] == kind
                ]
                right.plot([_inner(row) for row in rows], [row["GFLOP/s"] for row in rows], color=colour,
                           marker=marker, linewidth=1, label=f"{kind}, {_threads(count)}")  # fmt: skip
        _logarithmic(right, "inner length of the product (hidden units)", "GFLOP/s", "linear")
        right.set_ylim(0)
        right.set_title("Matrix products, by shape")
        right.legend(fontsize=7)
    return path


def training_hidden(report: Report, path: Path) -> Path:
    """Draw characters/s over hidden units beside what the peak allows, and the memory."""
    rows = report.rows("training by hidden units")
    with _drawn(path) as (left, right):
        for colour, layers in zip(COLOURS, sorted({row["layers"] for row in rows}), strict=False):
            own = [row for row in rows if row["layers"] == layers]
            name = f"{layers} layer{'s' if layers > 1 else ''}"
            _line(left, own, "hidden", "characters/s", colour, name)
            _line(left, own, "hidden", "bare", colour, f"{name}, bare loop", linestyle=":", marker="x")
            at_peak = [{**row, "at peak": row["GFLOP/s"] / row["share of peak"] * 1e9 / row["FLOP a character"]}
                       for row in own]  # fmt: skip
            _line(
                left, at_peak, "hidden", "at peak", colour, f"{name}, all products at peak", linestyle="--", marker=""
            )
            _line(right, own, "hidden", "memory, MB", colour, name)
            weights = [{**row, "weights": row["parameters"] * 16 / 1e6} for row in own]
            _line(
                right, weights, "hidden", "weights", colour, f"{name}, 16 bytes a parameter", linestyle="--", marker=""
            )
        _logarithmic(left, "hidden units", "characters/s")
        _logarithmic(right, "hidden units", "memory, MB")
        left.set_title("Training by hidden units")
        right.set_title("Memory of the process")
        for axes in (left, right):
            axes.legend(fontsize=7)
    return path


def training_batch(report: Report, path: Path) -> Path:
    """Draw characters/s and memory over the sequences in a batch."""
    rows = report.rows("training by batch")
    with _drawn(path) as (left, right):
        _line(left, rows, "batch", "characters/s", BLUE, "char-rnn")
        _line(left, rows, "batch", "bare", ORANGE, "bare loop", linestyle=":", marker="x")
        left.axhline(_at_peak(rows[0]), color=GREY, linestyle="--", label="all products at peak")
        _logarithmic(left, "sequences in a batch", "characters/s")
        left.set_title("Training by sequences in a batch")
        left.legend()
        _line(right, rows, "batch", "of it grown, MB", GREEN, "beyond Python and PyTorch")
        right.set_xlabel("sequences in a batch")
        right.set_ylabel("MB")
        right.set_xlim(0)
        right.set_ylim(0)
        right.yaxis.set_major_formatter(PLAIN)
        right.set_title("Memory (linear axes)")
        right.legend()
    return path


def writing_hidden(report: Report, path: Path) -> Path:
    """Draw characters/s of one text over hidden units, and the rate at which the weights are read."""
    rows = report.rows("writing by hidden units")
    with _drawn(path) as (left, right):
        for colour, precision in zip(COLOURS, ("float32", "int8"), strict=False):
            own = [row for row in rows if row["precision"] == precision]
            _line(left, own, "hidden", "characters/s", colour, precision)
            reading = [{**row, "bound": row["reading, GB/s"] * 1e3 / row["read, MB"]} for row in own]
            _bound(left, reading, "hidden", "bound", colour, f"{precision}, reading alone")
            _line(right, own, "read, MB", "GB/s", colour, f"{precision}, a step")
            _bound(right, own, "read, MB", "reading, GB/s", colour, f"{precision}, reading alone")
        _logarithmic(left, "hidden units", "characters/s")
        _logarithmic(right, "matrices of the model, MB", "GB/s")
        _caches(right, report)
        left.set_title("Writing one text")
        right.set_title("How fast its matrices are read")
        for axes in (left, right):
            axes.legend(fontsize=7)
    return path


def writing_texts(report: Report, path: Path) -> Path:
    """Draw characters/s over texts side by side, and what of the peak they reach."""
    rows = report.rows("writing by texts side by side")
    with _drawn(path) as (left, right):
        _line(left, rows, "texts", "characters/s", BLUE, "all texts together")
        each = [{**row, "each": row["characters/s"] / row["texts"]} for row in rows]
        _line(left, each, "texts", "each", ORANGE, "each of them")
        _logarithmic(left, "texts side by side", "characters/s")
        left.set_title("Writing texts side by side")
        left.legend()
        _line(right, rows, "texts", "GFLOP/s", BLUE, "a step of the engine")
        _line(right, rows, "texts", "products, GFLOP/s", GREEN, "PyTorch's products alone", linestyle="--", marker="x")
        right.axhline(rows[0]["GFLOP/s"] / rows[0]["share of peak"], color=GREY, linestyle="--", label="peak")
        _logarithmic(right, "texts side by side", "GFLOP/s")
        right.set_title("What of the peak is reached")
        right.legend()
    return path


def corpus(report: Report, path: Path) -> Path:
    """Draw what does not grow with the text: memory, the first step, the speed; and the preparing."""
    rows = report.rows("training by size of the text")
    with _drawn(path) as (left, right):
        _line(left, rows, "text, MB", "memory, MB", BLUE, "training")
        _line(left, rows, "text, MB", "its memory, MB", GREEN, "preparing")
        _bound(left, rows, "text, MB", "text, MB", GREY, "the text itself")
        _logarithmic(left, "text, MB", "memory, MB")
        left.set_title("Memory by size of the text")
        _line(right, rows, "text, MB", "first step after, s", BLUE, "from the start to the first step, s")
        _line(right, rows, "text, MB", "of it the text, s", ORANGE, "of it the text, s")
        prepared = [{**row, "preparing": row["text, MB"] / row["preparing, MB/s"]} for row in rows]
        _line(right, prepared, "text, MB", "preparing", GREEN, "preparing, once, s")
        _logarithmic(right, "text, MB", "seconds")
        right.set_title("Time by size of the text")
        for axes in (left, right):
            axes.legend(fontsize=8)
    return path


FIGURES: dict[str, tuple[Callable[[Report, Path], Path], tuple[str, ...]]] = {
    "growth-machine": (machine, ("matrix products", "reading memory")),
    "growth-training-hidden": (training_hidden, ("training by hidden units",)),
    "growth-training-batch": (training_batch, ("training by batch",)),
    "growth-writing-hidden": (writing_hidden, ("writing by hidden units",)),
    "growth-writing-texts": (writing_texts, ("writing by texts side by side",)),
    "growth-corpus": (corpus, ("training by size of the text",)),
}


@contextmanager
def _drawn(path: Path) -> Iterator[tuple[Axes, Axes]]:
    """Give two pictures side by side on white, and write them."""
    with style():
        figure = Figure(figsize=SIZE, layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            axes.title.set_fontsize(10)
        yield left, right
    save_figure(figure, path)


def _line(axes: Axes, rows: Rows, x: str, y: str, colour: str, label: str, **look: Any) -> None:
    look = {"linestyle": "-", "marker": "o", **look}
    axes.plot([row[x] for row in rows], [row[y] for row in rows], color=colour, label=label, markersize=4, **look)


def _bound(axes: Axes, rows: Rows, x: str, y: str, colour: str, label: str) -> None:
    _line(axes, rows, x, y, colour, label, linestyle="--", marker="")


def _at_peak(row: Mapping[str, Any]) -> float:
    """Return the characters/s of training if all its products ran at the machine's peak."""
    return float(row["characters/s"] / row["share of peak"])


def _logarithmic(axes: Axes, x: str, y: str, y_scale: str = "log") -> None:
    """Name the axes, and make them logarithmic with a tick at each measured place; at some where there are many."""
    lines = [np.asarray(line.get_xdata(), float) for line in axes.get_lines() if line.get_marker() not in ("", "None")]
    places = sorted(set(np.concatenate(lines).tolist()))
    axes.set_xscale("log")
    axes.set_yscale(y_scale)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.xaxis.set_major_locator(FixedLocator(places[:: 1 + len(places) // 8]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PLAIN)
    if y_scale == "log":
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 500 * low else (1,)))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _caches(axes: Axes, report: Report) -> None:
    """Mark where one core's reading outgrows each cache that the system tells of."""
    rows = [row for row in report.rows("reading memory") if row["threads"] == 1]
    low, high = axes.get_xlim()
    for before, after in pairwise(rows):
        place = (before["read, MB"] * after["read, MB"]) ** 0.5
        if before["fits in"] != after["fits in"] and low < place < high:
            axes.axvline(place, color=GREY, linewidth=0.8, linestyle=":")
            axes.annotate(f"{before['fits in']} ", (place, 0.02), xycoords=("data", "axes fraction"), ha="right",
                          color=GREY, fontsize=8)  # fmt: skip


def _inner(row: Mapping[str, Any]) -> int:
    """Return k of "m x k by k x n"."""
    return int(str(row["shape"]).split()[2])


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


if __name__ == "__main__":
    main()
