"""What a benchmark found: tables, and the machine they are of; on a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from char_rnn.machine import describe_machine

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows with the same columns.

    Attributes:
        name: what they are of, in a few words.
        rows: columns by name; numbers are as measured, not rounded.
        note: what has to be known to read them.
    """

    name: str
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The answer to a question.

    Attributes:
        question: which of ``QUESTIONS``.
        title: the question in words.
        tables: the figures.
        command: what measures them again.
        machine: what they are of.
        date: the day, as in ISO 8601.
    """

    question: str
    title: str
    tables: Sequence[Table]
    command: str = ""
    machine: Mapping[str, Any] = field(default_factory=describe_machine)
    date: str = field(default_factory=lambda: date.today().isoformat())

    def rows(self, table: str) -> Sequence[Row]:
        """Return the rows of a table.

        Raises:
            KeyError: there is none of that name.
        """
        return {each.name: each.rows for each in self.tables}[table]

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        content = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        path.write_text(content, encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what ``write`` wrote."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**found, "tables": [Table(**table) for table in found["tables"]]})


def shown(value: Any) -> str:
    """Write a figure as people read it: four digits, thousands apart."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe(machine: Mapping[str, Any]) -> str:
    """Name a machine in a line."""
    processor = machine["processor"] or "a processor without a name"
    parts = [
        f"{processor}, {machine['usable_cores'] or '?'} cores, {counted(machine['threads'], 'thread')}",
        str(machine["cpu_capability"]),
        f"kernels {machine['kernels'] or 'none'}",
        f"Python {machine['python']}",
        f"PyTorch {machine['torch']}",
        f"char-rnn {machine['char_rnn']}",
        str(machine["system"]),
    ]
    if machine["load"] is not None:
        parts.append(f"load {machine['load']:.1f} before")
    return "; ".join(parts)


def counted(number: int, what: str) -> str:
    """Write a number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table as Printed

    table = Printed(title=title)
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*map(shown, row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)
