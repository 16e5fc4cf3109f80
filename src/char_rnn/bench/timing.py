"""Timing of alternatives in turn, and measurements in a process of their own.

python -m char_rnn.bench.timing MODULE:FUNCTION < arguments.json > result.json
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import char_rnn

MB = 1e6
Name = TypeVar("Name")
Repeated = Callable[[int], object]
"""Does something as many times as it is told."""


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """Median of the runs, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the interquartile range over the median; half the range if there are fewer than four runs."""
        if len(self.seconds) < 4:
            return (max(self.seconds) - min(self.seconds)) / 2 / self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def in_turn(sides: Mapping[Name, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[Name, Timing]:
    """Time functions in the order A B A B ..., so that a change in the machine's speed affects all of them."""
    seconds: dict[Name, list[float]] = {name: [] for name in sides}
    for number in range(warmup + rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - began)
    return {name: Timing(values) for name, values in seconds.items()}


def timed_each(sides: Mapping[Name, Repeated], rounds: int, seconds: float = 0.3) -> dict[Name, Timing]:
    """Time functions in turn, about ``seconds`` each per round; return the seconds of one repetition."""
    counts = {name: _count_in(side, seconds) for name, side in sides.items()}
    measured = in_turn({name: partial(side, counts[name]) for name, side in sides.items()}, rounds, warmup=0)
    return {name: Timing([total / counts[name] for total in timing.seconds]) for name, timing in measured.items()}


def _count_in(side: Repeated, seconds: float) -> int:
    """Warm a function up, and return how many repetitions it makes in ``seconds``, at least one."""
    side(1)
    made = 1
    while True:
        began = time.perf_counter()
        side(made)
        taken = time.perf_counter() - began
        if taken > seconds / 10:
            return max(1, round(made * seconds / taken))
        made *= 2


def ratio(timings: Mapping[str, Timing], side: str, other: str) -> float:
    """Return the median over the rounds of (seconds of ``side``) / (seconds of ``other``)."""
    pairs = zip(timings[side].seconds, timings[other].seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


class ProcessError(ValueError):
    """A measuring process failed."""


def in_own_process(function: str, **arguments: Any) -> Any:
    """Call ``"module:name"`` in a new process, whose peak memory is then that of the measurement alone.

    JSON must be able to represent its arguments and its result.

    Raises:
        ProcessError: The process failed; the message has its last line.
    """
    package = str(Path(char_rnn.__file__).parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    command = [sys.executable, "-m", "char_rnn.bench.timing", function]
    environment, given = {**os.environ, "PYTHONPATH": path}, json.dumps(arguments)
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise ProcessError(f"{function} ended with {ended}{': ' if last else ''}{last}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_mb() -> float:
    """Return the peak resident memory of this process, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage includes the parent's memory before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MB
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / MB
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def page_faults() -> int:
    """Return the minor page faults of this process; 0 on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(module), name)(**json.load(sys.stdin))))
