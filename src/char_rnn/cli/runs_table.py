"""The table of ``char-rnn runs`` in a terminal: a line a run, with the columns that fit."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from char_rnn.cli.options import shown
from char_rnn.cli.runs import rounded, state_of
from char_rnn.utils.terminal import visible

if TYPE_CHECKING:
    from char_rnn.runs.listing import RunSummary

ANY_WIDTH = 1 << 16
STYLES = {"finished": "green", "unfinished": "yellow", "begun": "yellow", "damaged": "red"}

Cell = Callable[["RunSummary"], Text | str]
CELLS: dict[str, Cell] = {
    "run": lambda run: Text(shown(str(run.folder)), "bold"),
    "data": lambda run: shown(run.data or ""),
    "model": lambda run: (run.model or "") + (", bytes" if run.unit == "byte" else ""),
    "params": lambda run: "" if run.parameters is None else f"{run.parameters:,}",
    "steps": lambda run: f"{run.steps:,}",
    "epochs": lambda run: rounded(run.epochs, 2),
    "val nats": lambda run: Text(rounded(run.best_loss, 4), "bold"),
    "val bits": lambda run: rounded(run.best_bits, 4),
    "best at": lambda run: rounded(run.best_step, 0),
    "minutes": lambda run: rounded(run.minutes, 1),
    "size": lambda run: _megabytes(run.size),
    "state": lambda run: Text("damaged" if run.problem else state_of(run), STYLES[run.state]),
}
LEFT = {"run", "data", "model", "state"}
LEFT_OUT = ("best at", "val bits", "epochs", "size", "params", "data", "minutes")  # in this order where it is narrow


def print_table(runs: Sequence[RunSummary], console: Console | None = None) -> None:
    """Print the runs as wide as the terminal allows."""
    console = console or Console(highlight=False)
    tables = (_one_line(runs, LEFT_OUT[:count]) for count in range(len(LEFT_OUT) + 1))
    console.print(next((table for table in tables if fits(table, console)), _one_line(runs, LEFT_OUT, no_wrap=False)))
    for run in runs:
        if run.problem is not None:
            console.print(Text(f"{shown(str(run.folder))}: {shown(run.problem)}", STYLES["damaged"]), soft_wrap=True)


def _one_line(runs: Sequence[RunSummary], left_out: Container[str], *, no_wrap: bool = True) -> Table:
    headings = [heading for heading in CELLS if heading not in left_out]
    rows = [[CELLS[heading](run) for heading in headings] for run in runs]
    return table_of(headings, rows, LEFT, no_wrap=no_wrap)


def table_of(
    headings: Sequence[str], rows: Sequence[Sequence[Text | str]], left: Container[str], *, no_wrap: bool = True
) -> Table:
    """Return a table with a line a row; the columns ``left`` are ranged left, the others right."""
    table = _empty()
    for heading in headings:
        table.add_column(_literal(heading), justify="left" if heading in left else "right", overflow="fold",
                         no_wrap=no_wrap)  # fmt: skip
    for row in rows:
        table.add_row(*map(_literal, row))
    return table


def fits(table: Table, console: Console) -> bool:
    """Tell whether a table can be printed without folding a cell."""
    room = console.options.update(max_width=ANY_WIDTH)
    return console.measure(table, options=room).maximum <= console.width


def _empty() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")


def _literal(cell: Text | str) -> Text:
    """A name may hold what rich takes for markup, or a terminal for a command."""
    return cell if isinstance(cell, Text) else Text(visible(cell))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
