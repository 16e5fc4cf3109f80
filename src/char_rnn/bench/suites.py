"""The suites of ``char-rnn bench``, their settings, and the reports that they return."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from char_rnn.utils.terminal import counted

if TYPE_CHECKING:
    from char_rnn.bench.peers import Peer

SUITES = {
    "training": "How fast is training, compared with plain PyTorch?",
    "generation": "How fast is generation, compared with plain PyTorch and with reading memory?",
    "ops": "How fast are the recurrent layers, compared with PyTorch's?",
    "data": "How fast is a text prepared, and how much memory does it take?",
    "quality": "What loss does each reach in equal time?",
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: CPU threads of PyTorch and of the engine.
        rounds: Timed runs of each alternative.
        quick: Measure few and small cases, which takes seconds and gives rough figures.
        text: File, folder or data set to train on in ``quality``.
        peers: Other programs to measure.
        cases: Names of the only cases of ``training`` to measure; empty for all.
        progress: Called with the name of the next measurement.
    """

    threads: int = 1
    rounds: int = 5
    quick: bool = False
    text: str = "python-stdlib"
    peers: Sequence[Peer] = ()
    cases: Sequence[str] = ()
    progress: Callable[[str], None] = lambda _: None

    def command(self, suite: str) -> str:
        """Return the command line that repeats the measurement."""
        words = ["char-rnn", "bench", suite, "--threads", str(self.threads), "--rounds", str(self.rounds)]
        words += ["--quick"] if self.quick else []
        words += ["--text", self.text] if suite == "quality" else []
        words += [f"--case={name}" for name in self.cases if suite == "training"]
        for peer in self.peers_of(suite):
            words += ["--peer", f"{suite}:{peer.name}={shlex.join(peer.command)}"]
        return shlex.join(words)

    def peers_of(self, suite: str) -> list[Peer]:
        """Return the peers of a suite."""
        return [peer for peer in self.peers if peer.suite == suite]


@dataclass(frozen=True)
class ResultTable:
    """Rows with the same columns; numbers are not rounded. The note explains them."""

    name: str
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True)
class SuiteResult:
    """The result of a suite: its name, its question in words, the figures, and what repeats the measurement."""

    question: str
    title: str
    tables: Sequence[ResultTable]
    command: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    date: str = field(default_factory=lambda: date.today().isoformat())

    def rows(self, table: str) -> Sequence[Row]:
        """Return the rows of a table; none if the report has no table of that name."""
        return next((each.rows for each in self.tables if each.name == table), ())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON represents it."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        content = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        path.write_text(content, encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, path: Path) -> SuiteResult:
        """Read a report that ``write`` wrote."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**found, "tables": [ResultTable(**table) for table in found["tables"]]})


def load_numpy() -> None:
    """Load NumPy with one BLAS thread: the measurement of memory reads starts its own threads."""
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import_module("numpy")
    if before is None:
        del os.environ["OPENBLAS_NUM_THREADS"]
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = before


def measure(suite: str, settings: Settings) -> SuiteResult:
    """Run a suite.

    Raises:
        KeyError: There is no suite of that name.
        PeerError: A peer's command failed.
    """
    from char_rnn.machine import describe_machine
    from char_rnn.utils.device import on_threads

    title = SUITES[suite]
    with on_threads(settings.threads):
        machine = describe_machine()  # before the measurement, which adds to the load
        tables = import_module(f"char_rnn.bench.{suite}").measure(settings)
    return SuiteResult(suite, title, tables, settings.command(suite), machine)


def shown(value: Any) -> str:
    """Format a figure with four digits and separators of thousands."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe(machine: Mapping[str, Any]) -> str:
    """Return a description of a machine in one line."""
    parts = [
        f"{machine['processor'] or 'unnamed processor'}, {machine['usable_cores'] or '?'} cores, "
        f"{counted(machine['threads'], 'thread')}",
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
