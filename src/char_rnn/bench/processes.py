"""Functions called in a process of their own: only so is the largest memory of a measurement its own.

python -m char_rnn.bench.processes MODULE:FUNCTION < arguments.json > result.json
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import char_rnn

MB = 1e6


class ProcessError(ValueError):
    """A measurement's process ended without a result; says how."""


def in_own_process(function: str, **arguments: Any) -> Any:
    """Call a function in a new process and return what it returns.

    OpenBLAS keeps to one thread there: where reading is shared among threads, each is one of Python's.

    Args:
        function: ``"module:name"``.
        arguments: what JSON can hold.

    Raises:
        ProcessError: the process was ended or raised.
    """
    package = str(Path(char_rnn.__file__).parents[1])
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", "char_rnn.bench.processes", function]
    given = json.dumps(arguments)
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise ProcessError(f"{function} ended with {ended}{': ' if last else ''}{last}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_mb() -> float:
    """Return this process's largest resident memory so far, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts the parent's memory before exec, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MB
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / MB
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def page_faults() -> int:
    """Return how often this process has been given a page of memory so far; 0 on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    """Call the function named on the command line, and print its result."""
    module, _, name = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(module), name)(**json.load(sys.stdin))))


if __name__ == "__main__":
    main()
