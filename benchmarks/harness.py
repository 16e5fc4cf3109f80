"""What the programs here share: options, and the table, printed and written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from char_rnn.bench.suites import print_rows
from char_rnn.machine import describe_machine


def parser(description: str | None, *, threads: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options of every program; without ``--threads`` where the number does not matter."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    if threads:
        options.add_argument("--threads", type=int, help="CPU threads of PyTorch (default: its own choice)")
    return options


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None, **metadata: Any) -> None:
    """Print the rows as a table, and write them to ``path`` with the machine's description."""
    about = describe_machine() | metadata
    print_rows(title, rows)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if path is not None:
        path.write_text(json.dumps({"title": title, "machine": about, "rows": list(rows)}, indent=2) + "\n")
