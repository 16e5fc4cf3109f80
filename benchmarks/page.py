"""Makes docs/benchmarks.md and its pictures of the figures in docs/benchmarks/*.json.

    python benchmarks/page.py                            # write the page and the pictures anew
    python benchmarks/page.py --measure [--threads N]    # measure everything first: 18 minutes on two idle cores

``page.md`` is the page with places for what is measured:

    {{machine QUESTION}}            where, when and how
    {{table QUESTION TABLE}}        a table with its note
    {{aims QUESTION}}               what the figures were meant to come to, and whether they do
    {{figure QUESTION NAME TEXT}}   a picture; nothing if its table has no rows
    {{value QUESTION TABLE COLUMN [NAME=VALUE]...}}   one figure, of the first row with these values
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import page_growth
import page_plots
from page_aims import judged

from char_rnn.bench.questions import QUESTIONS
from char_rnn.bench.report import Report, describe, shown

ROOT = Path(__file__).parents[1]
PICTURES = "images/benchmarks"
PLACE = re.compile(r"\{\{(.+?)\}\}")
BUSY = 0.5  # processes at work before; with more of them the page says that figures suffered


def main() -> None:
    arguments = parse()
    if arguments.measure:
        command = [sys.executable, "-m", "char_rnn", "bench", "all", "--out", str(arguments.docs / "benchmarks")]
        command += ["--threads", str(arguments.threads), *(["--quick"] if arguments.quick else [])]
        subprocess.run(command, check=True)
    for path in write(arguments.docs):
        print(path)


def parse() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--measure", action="store_true", help="measure everything first")
    options.add_argument("--threads", type=int, default=1, help="CPU threads of every side")
    options.add_argument("--quick", action="store_true", help="measure few and small cases")
    options.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder of the page")
    return options.parse_args()


def write(docs: Path) -> list[Path]:
    """Write the page and its pictures, and take away pictures that it no longer has; return their paths."""
    reports = {name: Report.read(docs / "benchmarks" / f"{name}.json") for name in QUESTIONS}
    folder = docs / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [path for report in reports.values() for path in pictures(report, folder)]
    for path in set(folder.glob("*.svg")) - set(drawn):
        path.unlink()
    page = docs / "benchmarks.md"
    page.write_text(text_of(reports, [path.stem for path in drawn]), encoding="utf-8")
    return [page, *drawn]


def pictures(report: Report, folder: Path) -> list[Path]:
    """Draw the pictures of a report; return their paths."""
    return page_growth.draw(report, folder) if report.question == "growth" else page_plots.draw(report, folder)


def text_of(reports: Mapping[str, Report], drawn: Sequence[str]) -> str:
    """Return the page."""

    def filled(place: re.Match[str]) -> str:
        what, question, *words = shlex.split(place[1])
        if what == "figure":
            name, text = words
            return f"![{text}]({PICTURES}/{name}.svg)" if name in drawn else ""
        return PLACES[what](reports[question], *words)

    page = PLACE.sub(filled, Path(__file__).with_name("page.md").read_text(encoding="utf-8"))
    return re.sub(r"\n{3,}", "\n\n", page)


def machine(report: Report) -> str:
    """Say where, when and how it was measured."""
    lines = [f"{describe(report.machine)}; {report.date}.", "", "<!-- not run: measures this machine -->", "```"]
    lines += [report.command, "```"]
    if "--quick" in report.command:
        lines += ["", "Few and small cases (`--quick`), so these figures are rough."]
    load = report.machine["load"]
    if load is not None and load > BUSY:
        lines += [
            "",
            f"The machine was at other work too ({load:.1f} processes before), which the figures suffer from.",
        ]
    return "\n".join(lines)


def table(report: Report, name: str) -> str:
    """Return a table and its note."""
    found = {each.name: each for each in report.tables}
    if name not in found or not found[name].rows:
        return f"*{name}: not measured here.*"
    return f"{markdown(found[name].rows)}\n\n{found[name].note}".rstrip()


def aims(report: Report) -> str:
    """Return what the figures were meant to come to."""
    rows = judged(report)
    missed, unmeasured = sum("missed" in row[""] for row in rows), sum(not row[""] for row in rows)
    words = f"Aims, {missed or 'none'} missed" + (f", {unmeasured} not measured" if unmeasured else "")
    return f"{words}:\n\n{markdown(rows)}"


def value(report: Report, name: str, column: str, *where: str) -> str:
    """Return one figure."""
    wanted = dict(each.split("=", 1) for each in where)
    for row in next((each.rows for each in report.tables if each.name == name), []):
        if all(str(row[key]) == wanted[key] for key in wanted):
            return shown(row[column])
    return "(not measured)"


PLACES: dict[str, Callable[..., str]] = {"machine": machine, "table": table, "aims": aims, "value": value}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table of Markdown, numbers to the right."""
    names = list(rows[0])
    numeric = [all(isinstance(row[name], (int, float)) for row in rows) for name in names]
    lines = [names, ["---:" if right else "---" for right in numeric]]
    lines += [[shown(row[name]).replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
