"""The table of ``char-rnn runs`` in a terminal: a line a run where there is room, else two, with nothing left out."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
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
COLUMNS: tuple[tuple[str, Cell], ...] = (  # by twos: what stands above what in a narrow terminal
    ("run", lambda run: Text(shown(str(run.folder)), "bold")),
    ("data", lambda run: shown(run.data or "")),
    ("model", lambda run: (run.model or "") + (", bytes" if run.unit == "byte" else "")),
    ("params", lambda run: "" if run.parameters is None else f"{run.parameters:,}"),
    ("steps", lambda run: f"{run.steps:,}"),
    ("epochs", lambda run: rounded(run.epochs, 2)),
    ("val nats", lambda run: Text(rounded(run.best_loss, 4), "bold")),
    ("val bits", lambda run: rounded(run.best_bits, 4)),
    ("best at", lambda run: rounded(run.best_step, 0)),
    ("minutes", lambda run: rounded(run.minutes, 1)),
    ("size", lambda run: _megabytes(run.size)),
    ("state", lambda run: Text("damaged" if run.problem else state_of(run), STYLES[run.state])),
)
CELLS = dict(COLUMNS)
LEFT = {"run", "data", "model", "state"}


def print_table(runs: Sequence[RunSummary], console: Console | None = None) -> None:
    """Print the runs as wide as the terminal allows."""
    console = console or Console(highlight=False)
    rows = [[cell(run) for _, cell in COLUMNS] for run in runs]
    wide = table_of([heading for heading, _ in COLUMNS], rows, LEFT)
    console.print(wide if fits(wide, console) else _narrow(rows))
    for run in runs:
        if run.problem is not None:
            console.print(Text(f"{shown(str(run.folder))}: {shown(run.problem)}", STYLES["damaged"]), soft_wrap=True)


def table_of(headings: Sequence[str], rows: Sequence[Sequence[Text | str]], left: Container[str]) -> Table:
    """Return a table with a line a row; the columns ``left`` are ranged left, the others right."""
    table = _empty()
    for heading in headings:
        table.add_column(_literal(heading), justify="left" if heading in left else "right", overflow="fold",
                         no_wrap=True)  # fmt: skip
    for row in rows:
        table.add_row(*map(_literal, row))
    return table


def fits(table: Table, console: Console) -> bool:
    """Tell whether a table can be printed without folding a cell."""
    room = console.options.update(max_width=ANY_WIDTH)
    return console.measure(table, options=room).maximum <= console.width


def _narrow(rows: Sequence[Sequence[Text | str]]) -> Table:
    """Return the table with two lines a run, and one between."""
    table = _empty()
    for (above, _), (below, _) in zip(COLUMNS[::2], COLUMNS[1::2], strict=True):
        table.add_column(f"{above}\n{below}", justify="left" if above in LEFT or below in LEFT else "right",
                         overflow="fold")  # fmt: skip
    for number, row in enumerate(rows):
        cells = (Group(*map(_literal, pair)) for pair in zip(row[::2], row[1::2], strict=True))
        table.add_row(*cells, end_section=number + 1 < len(rows))
    return table


def _empty() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")


def _literal(cell: Text | str) -> Text:
    """A name may hold what rich takes for markup, or a terminal for a command."""
    return cell if isinstance(cell, Text) else Text(visible(cell))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
