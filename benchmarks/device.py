"""Checks and times this package on a GPU or a Mac, in at most 8 minutes.

    python benchmarks/device.py [--device cuda|mps|cpu] [--minutes M] [--out DIR] [--parts PART ...] [--small]

It writes ``device.json`` and ``device.md`` to DIR: the machine, the versions, every check with its outcome, and every
timing. Each part has a share of the time, and the last one, the recipe ``large``, has all that is left. A part that
fails or takes too long does not stop the others, which then run in a new process; what it found until then is kept.
The exit status is 0 if every check passed, 1 if one failed, 2 for a device that this machine does not have.

With ``--device cpu``, sizes are small, to try the program itself: ``--device cpu --minutes 2``.

The parts are in ``device_checks.py``, ``device_speed.py`` and ``device_runs.py``. Where CHAR_RNN_GOLDEN_DIR names the
folder of the recordings of the 2015 program, the part ``golden`` is compared with them; else with those in
``tests/equivalence``, which were made on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import device_checks
import device_runs
import device_speed
import torch
from device_parts import Check, Setup, attempt
from page import markdown

from char_rnn.bench.suites import describe
from char_rnn.machine import describe_machine
from char_rnn.utils.device import DeviceManager
from char_rnn.utils.device import describe as describe_device

PARTS = {**device_checks.PARTS, **device_speed.PARTS, **device_runs.PARTS}
GRACE = 5.0  # seconds for a part to end by itself after its share
VERDICTS = {True: "ok", False: "**failed**", None: "not run"}
Found = dict[str, list[dict[str, Any]]]


def main() -> None:
    arguments = parse()
    began = time.monotonic()
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # else cuBLAS is not deterministic
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: Found = {"checks": [], "figures": [], "parts": []}
    about = {
        "device": arguments.device,
        "name": describe_device(torch.device(arguments.device)),
        "machine": describe_machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
    }
    worker: Worker | None = None
    try:
        for name in arguments.parts:
            left = 60 * arguments.minutes - (time.monotonic() - began)
            shares = [PARTS[each].share for each in arguments.parts[arguments.parts.index(name) :]]
            seconds = max(1.0, left * PARTS[name].share / sum(shares) - GRACE)
            print(f"{name}, at most {seconds:.0f} s", file=sys.stderr, flush=True)
            worker, started = worker or Worker(arguments, arguments.out / "device.log"), time.monotonic()
            problem = worker.run(name, seconds, found)
            if problem:
                found["checks"].append({"part": name, **vars(Check(f"{name} runs to its end", False, problem))})
            if any(check["passed"] is False for check in found["checks"] if check["part"] == name):
                worker.stop()  # an error of a device can make all that follows fail
                worker = None
            found["parts"].append({"part": name, "seconds": time.monotonic() - started, "allowed": seconds})
            write(arguments.out, about, found)
    finally:  # also at Ctrl-C, which the worker in a session of its own does not get
        if worker is not None:
            worker.stop()
    failed = sum(check["passed"] is False for check in found["checks"])
    print(f"{arguments.out / 'device.md'}: {len(found['checks'])} checks, {failed} failed", file=sys.stderr)
    sys.exit(1 if failed else 0)


def parse() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    available = DeviceManager.available()
    options.add_argument("--device", choices=("cuda", "mps", "cpu"), default=available[0], help="device to check")
    options.add_argument("--minutes", type=float, default=8, help="minutes for all parts")
    options.add_argument("--out", type=Path, default=Path("device-report"), help="folder for the JSON and the page")
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts to run")
    options.add_argument("--small", action="store_true", help="small sizes (default on the CPU)")
    arguments = options.parse_args()
    if arguments.device not in available:
        options.error(f"no {arguments.device} here; this machine and its PyTorch have {', '.join(available)}")
    arguments.small = arguments.small or arguments.device == "cpu"
    return arguments


def serve(parts: Connection, device: str, small: bool, log: Path) -> None:
    """Run the parts that arrive; send each check and figure as JSON, and an empty text at the end of a part."""
    if sys.platform != "win32":
        os.setsid()
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    while True:
        name, deadline = parts.recv()
        with TemporaryDirectory() as folder:
            for each in attempt(name, partial(PARTS[name].run, Setup(device, small, Path(folder), deadline))):
                kind = "checks" if isinstance(each, Check) else "figures"
                parts.send((kind, json.dumps(vars(each), default=float)))
        if device != "cpu":
            getattr(torch, device).empty_cache()  # for the programs that the next parts start
        parts.send(("", ""))


class Worker:
    """A process that runs parts, as :func:`serve`.

    Args:
        arguments: Options of this program.
        log: File for what it prints.
    """

    def __init__(self, arguments: argparse.Namespace, log: Path) -> None:
        log.touch()
        context, self._log = get_context("spawn"), log
        self._parts, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, arguments.device, arguments.small, log))
        self._process.start()
        theirs.close()

    def run(self, name: str, seconds: float, found: Found) -> str:
        """Run a part, and add what it finds; return why it did not end, else an empty text."""
        deadline = time.monotonic() + seconds  # of all processes of this machine
        try:
            self._parts.send((name, deadline))
            while self._parts.poll(max(0.0, deadline + GRACE - time.monotonic())):
                kind, content = self._parts.recv()
                if not kind:
                    return ""
                value = json.loads(content, parse_constant=lambda _: None)  # NaN is not JSON
                found[kind].append({"part": name, **value})
        except (EOFError, OSError):
            self._process.join()
            return f"the process ended with {self._process.exitcode}: {last_line(self._log)}"
        return f"not finished after {seconds + GRACE:.0f} s"

    def stop(self) -> None:
        """End the process, and those that it started."""
        if sys.platform != "win32" and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()


def last_line(file: Path) -> str:
    """Return the last line that a part wrote to standard error."""
    return ([line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()] or ["(no message)"])[-1]


def write(folder: Path, about: Mapping[str, Any], found: Found) -> None:
    """Write the report as JSON and as a page."""
    content = json.dumps({**about, **found}, indent=1, default=str)
    (folder / "device.json").write_text(content + "\n", encoding="utf-8")
    (folder / "device.md").write_text(page(about, found), encoding="utf-8")


def page(about: Mapping[str, Any], found: Found) -> str:
    """Return the report in Markdown."""
    checks, machine = found["checks"], about["machine"]
    counts = [sum(check["passed"] is verdict for check in checks) for verdict in (True, False, None)]
    lines = [
        f"# {about['name']}", "", f"{describe(machine)}; {about['date']}.", "",
        *[f"{kind}: {machine[kind]}.\n" for kind in ("cuda", "mps") if machine[kind]],
        f"{counts[0]} checks passed, {counts[1]} failed, {counts[2]} not run.", "", "```", about["command"], "```", "",
    ]  # fmt: skip
    if failed := [check for check in checks if check["passed"] is False]:
        lines += ["## Failed checks", "", *rows_of(failed)]
    for part in found["parts"]:
        lines += [f"## {part['part']}", "", PARTS[part["part"]].words, ""]
        lines += [f"{part['seconds']:.0f} s of {part['allowed']:.0f}.", ""]
        own = [check for check in checks if check["part"] == part["part"]]
        lines += rows_of(own) if own else []
        figures = [figure for figure in found["figures"] if figure["part"] == part["part"]]
        for table in dict.fromkeys(figure["table"] for figure in figures):
            lines += [f"{table}:", "", markdown([f["row"] for f in figures if f["table"] == table]), ""]
    return "\n".join(lines).rstrip() + "\n"


def rows_of(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return checks as a table."""
    rows = [
        {
            "check": check["name"],
            "": VERDICTS[check["passed"]],
            "error": "" if check["off"] is None else f"{check['off']:.1e}",
            "tolerance": "" if check["allowed"] is None else f"{check['allowed']:.0e}",
            "reason": check["words"],
        }
        for check in checks
    ]
    return [markdown(rows), ""]


if __name__ == "__main__":
    main()
