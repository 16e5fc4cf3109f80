"""What the programs here share: options, the command that trains, and the table, printed and written."""

from __future__ import annotations

import argparse
import json
import sys
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


def train_command(text: Path, run: Path, settings: Mapping[str, Any], *options: str, processes: int = 1) -> list[str]:
    """Return the command line of a training without output, in one process or several."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    start = [sys.executable, *(launcher if processes > 1 else []), "-m", "char_rnn", "train", str(text)]
    return [*start, "--out", str(run), "--quiet", *options, *sets]


def records(run: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a run on a split; none if it has not begun."""
    file = run / "metrics.jsonl"
    found = map(json.loads, file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
    return [record for record in found if record["split"] == split]


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None, **metadata: Any) -> None:
    """Print the rows as a table, and write them to ``path`` with the machine's description."""
    about = describe_machine() | metadata
    print_rows(title, rows)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if path is not None:
        path.write_text(json.dumps({"title": title, "machine": about, "rows": list(rows)}, indent=2) + "\n")
