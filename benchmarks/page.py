"""Makes docs/benchmarks.md and its pictures from the figures in docs/benchmarks/*.json.

    python benchmarks/page.py                            # write the page and the pictures again
    python benchmarks/page.py --measure [--threads N]    # measure everything first

``page.md`` is the page with placeholders:

    {{machine SUITE}}            machine, date and command
    {{table SUITE TABLE}}        a table with its note
    {{aims SUITE}}               the aims, and whether the figures meet them
    {{figure SUITE NAME TEXT}}   a picture, if its table has rows
    {{value SUITE TABLE COLUMN [NAME=VALUE]...}}   one figure, from the first row with these values
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from char_rnn.bench.suites import SUITES, SuiteResult, describe, shown
from char_rnn.runs.plots import COLOURS, save_figure, style

ROOT = Path(__file__).parents[1]
PICTURES = "images/benchmarks"
PLACEHOLDER = re.compile(r"\{\{(.+?)\}\}")
BUSY = 0.5  # load before the measurement from which on the page has a sentence about it
SAME = {"loop": "bare", "float32": "char-rnn", "train": "char-rnn", "step": "bare", "loss": "char-rnn"}
ORDER = ("bare", "char-rnn", "bfloat16", "int8")  # of the colours
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bars:
    """A chart with a group of bars for each label, of some columns and of one column by another.

    Attributes:
        suite: Suite of the figures.
        table: Name of their table.
        title: Title of the chart.
        labels: Columns whose values label a group.
        columns: Columns with a bar of their own.
        pivot: A column whose values are further bars, and the column of their heights.
        logarithmic: Whether the heights are.
    """

    suite: str
    table: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...] = ()
    pivot: tuple[str, str] | None = None
    logarithmic: bool = False

    def heights(self, rows: Sequence[Row]) -> dict[str, dict[str, float]]:
        """Return the height for each bar's name and each label."""
        found: dict[str, dict[str, float]] = {}
        for row in rows:
            label = "\n".join(re.sub(r"[:,] ", "\n", str(row[name])) for name in self.labels)
            bars = {name: row[name] for name in self.columns}
            bars |= {row[self.pivot[0]]: row[self.pivot[1]]} if self.pivot else {}
            for name, height in bars.items():
                found.setdefault(name, {})[label] = height
        return found


FIGURES = {
    "training-step": Bars("training", "a step", "Training, characters/s", ("case",), ("bare", "char-rnn")),
    "writing": Bars("generation", "one text", "Writing one text, characters/s (logarithmic)", ("cell", "hidden"),
                    ("loop",), ("precision", "char-rnn"), logarithmic=True),
    "layers": Bars("ops", "layers", "Speed relative to PyTorch's module", ("layer", "hidden"),
                   pivot=("task", "speed-up")),
    "quality": Bars("quality", "equal time", "Loss after equal time, nats per character", ("side",), ("loss",)),
}  # fmt: skip


@dataclass(frozen=True)
class Aim:
    """A bound on a column: at least or at most this value, in the rows with the values of ``where``."""

    suite: str
    table: str
    column: str
    least: float | None = None
    most: float | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, report: SuiteResult) -> list[dict[str, Any]]:
        """Return a row for each figure; one without a figure if there is none."""
        found = [row for row in report.rows(self.table) if self.where.items() <= row.items()]
        bound = f"at least {shown(self.least)}" if self.most is None else f"at most {shown(self.most)}"
        judged = []
        for row in found or [self.where]:
            value: Any = row[self.column] if found else "not measured"
            missed = found and ((self.least is not None and value < self.least) or value > (self.most or float("inf")))
            verdict = "**missed**" if missed else "met" if found else ""
            figure, of = f"{self.table}, {self.column}", ", ".join(str(row[name]) for name in LABELS if name in row)
            judged.append({"figure": figure, "of": of, "value": value, "aim": bound, "": verdict})
        return judged


LABELS = ("case", "trainer", "threads", "layer", "cell", "hidden", "precision", "texts", "text", "side")
CASES = (  # case, trainer, threads (None: any), least speed relative to the bare loop
    ("2x128", "float32", 1, 1.25),
    ("2x128", "float32", 2, 1.35),
    ("2x128", "layer_norm cell", None, 1.0),
    ("1x384", "float32", None, 1.2),
    ("1x384", "bfloat16", None, 2.1),
    ("2x512", "bfloat16", None, 1.9),
    *((f"{cell} {size}", trainer, None, 1.5) for size in ("2x128", "1x384")
      for cell, trainer in (("gru", "reset after"), ("gru", "reset before"), ("rnn", "float32"))),
    ("tiny", "float32", None, 1.0),
)  # fmt: skip
AIMS = (
    *(Aim("training", "over the bare loop", "over K", least, where={"case": case, "trainer": trainer,
          **({"threads": threads} if threads else {})}) for case, trainer, threads, least in CASES),
    Aim("generation", "one text", "char-rnn / loop", 10.0, where={"hidden": 128, "precision": "float32"}),
    Aim("generation", "one text", "char-rnn / loop", 30.0, where={"hidden": 512, "precision": "float32"}),
    Aim("generation", "one text", "step / reading", 0.6, where={"hidden": 512, "precision": "float32"}),
    Aim("generation", "command line", "sample / loop", 15.0, where={"cell": "lstm"}),
    *(Aim("generation", "command line", "sample / loop", 12.0, where={"cell": cell}) for cell in ("gru", "rnn")),
    Aim("generation", "texts side by side", "engine / products", 0.6, where={"texts": 64}),
    Aim("generation", "start", "first character, s", most=0.4),
    Aim("generation", "start", "resident MB", most=120.0),
    Aim("ops", "layers", "speed-up", 1.0, where={"layer": "gru before", "task": "train"}),
    Aim("data", "texts", "MB/s", 100.0),
    Aim("data", "texts", "peak MB", most=600.0),
    Aim("data", "texts", "warm, ms", most=100.0),
    Aim("data", "texts", "batch / step, %", most=2.0),
)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--measure", action="store_true", help="measure everything first")
    options.add_argument("--threads", type=int, default=1, help="CPU threads")
    options.add_argument("--quick", action="store_true", help="measure few and small cases")
    options.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    arguments = options.parse_args()
    if arguments.measure:
        command = [sys.executable, "-m", "char_rnn", "bench", "all", "--out", str(arguments.docs / "benchmarks")]
        command += ["--threads", str(arguments.threads), *(["--quick"] if arguments.quick else [])]
        subprocess.run(command, check=True)
    for path in write(arguments.docs):
        print(path)


def write(docs: Path) -> list[Path]:
    """Write the page and its pictures, and delete pictures that it no longer has; return their paths."""
    reports = {name: SuiteResult.read(docs / "benchmarks" / f"{name}.json") for name in SUITES}
    folder = docs / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [path for report in reports.values() for path in pictures(report, folder)]
    for path in set(folder.glob("*.svg")) - set(drawn):
        path.unlink()
    page = docs / "benchmarks.md"
    page.write_text(text_of(reports, [path.stem for path in drawn]), encoding="utf-8")
    return [page, *drawn]


def pictures(report: SuiteResult, folder: Path) -> list[Path]:
    """Draw the charts of a report whose tables have rows; return their paths."""
    chosen = {name: bars for name, bars in FIGURES.items() if bars.suite == report.question and report.rows(bars.table)}
    return [draw(bars, report.rows(bars.table), folder / f"{name}.svg") for name, bars in chosen.items()]


def draw(bars: Bars, rows: Sequence[Row], path: Path) -> Path:
    """Draw a chart."""
    heights = bars.heights(rows)
    labels = list(next(iter(heights.values())))
    positions, width = np.arange(len(labels)), 0.8 / len(heights)
    with style():
        figure = Figure(figsize=(8.0, 3.4), layout="constrained", facecolor="white")
        axes = figure.subplots()
        for number, (name, values) in enumerate(heights.items()):
            colour = COLOURS[ORDER.index(SAME.get(name, name))]
            left = positions + (number + 0.5) * width - 0.4
            axes.bar(left, [values[label] for label in labels], width * 0.92, color=colour, label=name)
        axes.set_xticks(positions, labels, fontsize=8)
        axes.set_yscale("log" if bars.logarithmic else "linear")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(float(value))))
        axes.set_title(bars.title, fontsize=10)
        if len(heights) > 1:
            axes.legend(fontsize=8)
    return save_figure(figure, path)


def text_of(reports: Mapping[str, SuiteResult], drawn: Sequence[str]) -> str:
    """Return the page."""

    def filled(placeholder: re.Match[str]) -> str:
        what, suite, *words = shlex.split(placeholder[1])
        if what == "figure":
            name, text = words
            return f"![{text}]({PICTURES}/{name}.svg)" if name in drawn else ""
        return FILLED[what](reports[suite], *words)

    page = PLACEHOLDER.sub(filled, Path(__file__).with_name("page.md").read_text(encoding="utf-8"))
    return re.sub(r"\n{3,}", "\n\n", page)


def machine(report: SuiteResult) -> str:
    """Return the machine, the date and the command of a report."""
    lines = [f"{describe(report.machine)}; {report.date}.", "", "<!-- not run: measures this machine -->", "```"]
    lines += [report.command, "```"]
    if "--quick" in report.command:
        lines += ["", "Few and small cases (`--quick`), so these figures are rough."]
    load = report.machine["load"]
    if load is not None and load > BUSY:
        cause = "an earlier suite, or other programs, which would make these figures worse"
        lines += ["", f"The load in the minute before was {load:.1f}: {cause}."]
    return "\n".join(lines)


def table(report: SuiteResult, name: str) -> str:
    """Return a table and its note."""
    found = next((each for each in report.tables if each.name == name), None)
    if found is None or not found.rows:
        return f"*{name}: not measured.*"
    return f"{markdown(found.rows)}\n\n{found.note}".rstrip()


def aims(report: SuiteResult) -> str:
    """Return the aims of a suite, and whether the figures meet them."""
    rows = [row for aim in AIMS if aim.suite == report.question for row in aim.rows(report)]
    if report.question == "quality":
        own, *others = report.rows("equal time")
        for other in others:
            rows += Aim("quality", "equal time", "loss", most=other["loss"], where={"side": own["side"]}).rows(report)
    missed, unmeasured = sum("missed" in row[""] for row in rows), sum(not row[""] for row in rows)
    words = f"Aims, {missed or 'none'} missed" + (f", {unmeasured} not measured" if unmeasured else "")
    return f"{words}:\n\n{markdown(rows)}"


def value(report: SuiteResult, name: str, column: str, *where: str) -> str:
    """Return one figure."""
    wanted = dict(each.split("=", 1) for each in where)
    for row in report.rows(name):
        if all(str(row[key]) == wanted[key] for key in wanted):
            return shown(row[column])
    return "(not measured)"


FILLED: dict[str, Callable[..., str]] = {"machine": machine, "table": table, "aims": aims, "value": value}


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a table in Markdown, numbers to the right."""
    names = list(rows[0])
    numeric = [all(isinstance(row[name], (int, float)) for row in rows) for name in names]
    lines = [names, ["---:" if right else "---" for right in numeric]]
    lines += [[shown(row[name]).replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
