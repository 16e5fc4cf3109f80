"""``char-rnn runs``."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from char_rnn.cli.output import say, write_text
from char_rnn.utils.terminal import visible, visible_name

if TYPE_CHECKING:
    from char_rnn.runs.listing import RunSummary

_ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "name": lambda run: run.folder,
    "best": lambda run: math.inf if run.best_loss is None else run.best_loss,
    "time": lambda run: -run.changed,
    "minutes": lambda run: -(run.seconds or 0),
    "size": lambda run: -run.size,
}
_PIPED = {
    "run": "folder",
    "data": "data",
    "model": "model",
    "parameters": "parameters",
    "steps": "steps",
    "epochs": "epochs",
    "val nats": "best_loss",
    "val bits": "best_bits",
    "best at": "best_step",
    "unit": "unit",
    "minutes": "minutes",
    "bytes": "size",
}
"""Columns of the piped output, and the attributes that they show; the time and the state follow."""
STYLES = {"finished": "green", "unfinished": "yellow", "begun": "yellow", "damaged": "red"}
CELLS: dict[str, Callable[[RunSummary], Text | str]] = {
    "run": lambda run: Text(visible_name(str(run.folder)), "bold"),
    "data": lambda run: visible_name(run.data or ""),
    "model": lambda run: (run.model or "") + (", bytes" if run.unit == "byte" else ""),
    "params": lambda run: rounded(run.parameters, 0),
    "steps": lambda run: f"{run.steps:,}",
    "epochs": lambda run: rounded(run.epochs, 2),
    "val nats": lambda run: Text("~" * bool(run.best_loss and run.eval_characters) + rounded(run.best_loss, 4), "bold"),
    "val bits": lambda run: rounded(run.best_bits, 4),
    "best at": lambda run: rounded(run.best_step, 0),
    "minutes": lambda run: rounded(run.minutes, 1),
    "size": lambda run: f"{run.size / 1e6:,.1f} MB" if run.size >= 1e5 else f"{run.size / 1e3:,.1f} kB",
    "state": lambda run: Text("damaged" if run.problem else _state(run), STYLES[run.state]),
}
ANY_WIDTH = 1 << 16
_LEFT = {"run", "data", "model", "state"}
_OPTIONAL = ("best at", "val bits", "epochs", "size", "params", "data", "minutes")  # left out in this order


@click.command(name="runs")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(list(_ORDERS)),
    default="name",
    help="Sort order: by name, lowest loss, latest change, longest training or largest folder.",
)
def command(folders: tuple[str, ...], as_json: bool, order: str) -> None:
    """List runs with their model, best validation loss, time, size and progress.

    The command searches each FOLDER and three levels of folders below it. The default is runs/, checkpoints/, the
    current folder and the folders in it. A terminal shows a table of the columns that fit. Piped output has all
    columns, separated by tabs, with one line for each run.

    \b
    Examples:
      char-rnn runs
      char-rnn runs ~/experiments --sort best
      char-rnn runs --json | jq '.[] | select(.state == "unfinished") | .run'
    """
    from char_rnn.runs.listing import find_runs, summarize

    runs = sorted(map(summarize, find_runs(folders)), key=_ORDERS[order])
    if as_json:
        write_text(json.dumps([run_facts(run) for run in runs], indent=2) + "\n")
    elif not runs:
        places = visible_name(", ".join(folders) or "runs/, checkpoints/ and the current folder")
        say(f"no runs found in {places}; create one with `char-rnn train`, or search with `char-rnn runs FOLDER`")
    elif os.isatty(1):
        print_table(runs)
    else:
        write_text("".join("\t".join(line) + "\n" for line in ([*_PIPED, "written", "state"], *map(_piped, runs))))


def run_facts(run: RunSummary) -> dict[str, Any]:
    """Return all that is known of a run, for JSON."""
    facts = asdict(run)
    return {"run": str(facts.pop("folder")), **facts, "best_bits": run.best_bits, "changed": _written(run)}


def rounded(value: float | None, digits: int) -> str:
    """Return a number with ``digits`` after the point, or nothing for None."""
    return "" if value is None else f"{value:,.{digits}f}"


def print_table(runs: Sequence[RunSummary], console: Console | None = None) -> None:
    """Print a table of runs with the columns that fit the terminal, and the reasons for damage below it."""
    console = console or Console(highlight=False)
    tables = (_table(runs, _OPTIONAL[:count]) for count in range(len(_OPTIONAL) + 1))
    console.print(next((table for table in tables if fits(table, console)), _table(runs, _OPTIONAL, no_wrap=False)))
    for run in runs:
        if run.problem is not None:
            print_problem(console, str(run.folder), run.problem)


def print_problem(console: Console, name: str, problem: str) -> None:
    """Print a line about a damaged or failed run."""
    console.print(Text(f"{visible_name(name)}: {visible_name(problem)}", STYLES["damaged"]), soft_wrap=True)


def table_of(
    headings: Sequence[str], rows: Sequence[Sequence[Text | str]], left: Container[str], *, no_wrap: bool = True
) -> Table:
    """Return a table; the columns in ``left`` are aligned left, the others right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for heading in headings:
        justify = "left" if heading in left else "right"
        table.add_column(_literal(heading), justify=justify, overflow="fold", no_wrap=no_wrap)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(_literal, row))
    return table


def fits(table: Table, console: Console) -> bool:
    """Return whether a table can be printed without folding a cell."""
    room = console.options.update(max_width=ANY_WIDTH)
    return console.measure(table, options=room).maximum <= console.width


def _table(runs: Sequence[RunSummary], left_out: Container[str], *, no_wrap: bool = True) -> Table:
    headings = [heading for heading in CELLS if heading not in left_out]
    rows = [[CELLS[heading](run) for heading in headings] for run in runs]
    return table_of(headings, rows, _LEFT, no_wrap=no_wrap)


def _literal(cell: Text | str) -> Text:
    """Return a cell without the markup of rich and control sequences, which a name may contain."""
    return cell if isinstance(cell, Text) else Text(visible(cell))


def _piped(run: RunSummary) -> list[str]:
    values = [*(getattr(run, name) for name in _PIPED.values()), _written(run), _state(run)]
    return ["" if value is None else _plain(value) for value in values]


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else visible_name(str(value))


def _state(run: RunSummary) -> str:
    if run.problem is not None:
        return f"damaged: {run.problem}"
    running = ", running" if run.running else ""
    if run.state == "unfinished":
        return f"step {run.steps:,}" + (f" of {run.total_steps:,}" if run.total_steps is not None else "") + running
    return ("no model yet" if run.state == "begun" else run.state) + running


def _written(run: RunSummary) -> str:
    return datetime.fromtimestamp(run.changed, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
