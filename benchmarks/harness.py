"""What every benchmark shares: sides measured in turn, medians with their spread, and the machine they ran on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """The middle run."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a part of the median."""
        if len(self.seconds) < 4:
            return (max(self.seconds) - min(self.seconds)) / 2 / self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def in_turn(sides: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, Timing]:
    """Run the sides A B A B ..., so that a machine that changes its speed changes it for both."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warmup + rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - began)
    return {name: Timing(values) for name, values in seconds.items()}


def ratio(timings: Mapping[str, Timing], side: str, other: str) -> float:
    """Return the median over the rounds of (seconds of ``side``) / (seconds of ``other``)."""
    pairs = zip(timings[side].seconds, timings[other].seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def machine() -> dict[str, Any]:
    """Describe this machine: processor, cores, system, versions."""
    import numpy
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def parser(description: str | None, *, threads: bool = True) -> argparse.ArgumentParser:
    """Return the options that every benchmark has; without ``--threads`` where the number plays no part."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, help="write the figures here as well")
    if threads:
        options.add_argument("--threads", type=int, help="PyTorch's CPU threads; its own choice when not given")
    return options


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None, **facts: Any) -> None:
    """Print the rows as a table, and write them to ``path`` with the machine's description."""
    about = machine() | facts
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), highlight=False)
    if path is not None:
        path.write_text(json.dumps({"title": title, "machine": about, "rows": list(rows)}, indent=2) + "\n")


def _shown(value: Any) -> str:
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
