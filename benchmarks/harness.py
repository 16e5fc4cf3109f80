"""What every program here shares: its options, and its table, printed and written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from char_rnn.bench.report import print_rows
from char_rnn.machine import describe_machine


def parser(description: str | None, *, threads: bool = True) -> argparse.ArgumentParser:
    """Return the options that every benchmark has; without ``--threads`` where the number plays no part."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, help="write the figures here as well")
    if threads:
        options.add_argument("--threads", type=int, help="PyTorch's CPU threads; its own choice when not given")
    return options


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None, **facts: Any) -> None:
    """Print the rows as a table, and write them to ``path`` with the machine's description."""
    about = describe_machine() | facts
    print_rows(title, rows)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if path is not None:
        path.write_text(json.dumps({"title": title, "machine": about, "rows": list(rows)}, indent=2) + "\n")
