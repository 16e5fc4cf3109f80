"""The result of a check of the machine, as data and as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "not run"]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check on one device.

    Attributes:
        device: Name of the device.
        check: Name of the check.
        cell: The recurrent cell; None for a check without a model.
        status: ``"not run"`` if a check that it depends on failed.
        words: The outcome in one line.
        off: The measured error, in the check's unit; None if there is none.
        allowed: The tolerance.
        issues: PyTorch issues about such a fault.
        seconds: Duration.
    """

    device: str
    check: str
    cell: str | None
    status: Status
    words: str
    off: float | None = None
    allowed: float | None = None
    issues: tuple[int, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Speed:
    """Training speed of two layers in float32, with batches of 50 x 20 characters; ``threads`` are CPU threads."""

    device: str
    cell: str
    hidden_size: int
    characters_per_second: float
    threads: int


@dataclass(frozen=True)
class Threads:
    """Training speed of an LSTM in characters/s on one CPU thread and on ``threads`` threads, measured in turn."""

    hidden_size: int
    threads: int
    with_one: float
    with_all: float

    @property
    def best(self) -> int:
        """The number of threads to use: all, unless one is more than 5% faster."""
        return 1 if self.with_one > 1.05 * self.with_all else self.threads


@dataclass(frozen=True)
class Verdict:
    """The recommendation.

    Attributes:
        device: The device to train on; None if no device is correct.
        settings: Options for ``char-rnn train``.
        words: The recommendation and its reasons.
        sound: Whether every check passed on that device, and the default device trains correctly.
    """

    device: str | None
    settings: tuple[str, ...]
    words: tuple[str, ...]
    sound: bool


@dataclass(frozen=True)
class Report:
    """The result of all checks.

    Attributes:
        machine: Versions, processor and devices.
        devices: The checked devices, each with a description.
        checks: Outcomes, in the order of the checks.
        speeds: Speeds; empty if they were not measured.
        threads: Comparisons of threads; empty if they were not measured or there is one thread.
        verdict: The recommendation.
        seconds: Duration.
    """

    machine: Mapping[str, Any]
    devices: Mapping[str, str]
    checks: Sequence[CheckResult]
    speeds: Sequence[Speed]
    threads: Sequence[Threads]
    verdict: Verdict
    seconds: float

    def failures(self, device: str | None = None) -> list[CheckResult]:
        """Return the failed checks of one device, or of all."""
        return [check for check in self.checks if check.status == "failed" and device in {None, check.device}]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON represents it; a NaN or infinite error becomes null."""
        return {
            **asdict(self),
            "checks": [{**asdict(check), "off": _finite(check.off)} for check in self.checks],
            "threads": [{**asdict(threads), "best": threads.best} for threads in self.threads],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


SHOWN = {"passed": "ok", "failed": "FAILED", "not run": "-"}
UNITS = {"forward": " nats", "memory": " B per step"}
CELL, NAME, NUMBER = 12, 16, 11  # widths of columns


def to_text(report: Report, width: int = 80) -> str:
    """Return a report in lines of at most ``width`` columns, at least 60."""
    width = max(60, width)
    blocks = [_machine(report.machine), *(_device(report, name) for name in report.devices)]
    blocks += [list(_speeds(report))] if report.speeds else []
    blocks.append(_verdict(report.verdict))
    return "\n\n".join("\n".join(_wrapped(block, width)) for block in blocks)


def _machine(machine: Any) -> list[str]:
    names = {"char-rnn": "char_rnn", "Python": "python", "PyTorch": "torch", "NumPy": "numpy"}
    cores, usable, cuda, mps = machine["cores"], machine["usable_cores"], machine["cuda"], machine["mps"]
    processor = [
        machine["processor"] or "unnamed processor",
        f"{cores} cores" if usable == cores else f"{cores} cores, {usable} of them for this process",
        f"PyTorch on {machine['threads']} thread{'s' * (machine['threads'] != 1)}",
        machine["cpu_capability"],
        *(["fast bfloat16"] if machine["bfloat16_on_cpu"] else []),
        f"kernels {machine['kernels']}" if machine["kernels"] else f"no kernels ({machine['no_kernels']})",
    ]
    devices = [machine["system"], "no CUDA", "no MPS"]
    if cuda is not None:
        rounding = ", cuDNN rounds to TF32" if cuda["tf32_in_cudnn"] else ""
        devices[1] = f"CUDA {cuda['version']}, cuDNN {cuda['cudnn']}, {', '.join(cuda['gpus'])}{rounding}"
    if mps is not None:
        devices[2] = f"MPS on macOS {mps['macos']} with {mps['memory'] / 2**30:.0f} GiB of memory"
    versions = ", ".join(f"{name} {machine[key]}" for name, key in names.items())
    return [versions, ", ".join(processor), "; ".join(devices)]


def _device(report: Report, name: str) -> list[str]:
    """Return the checks of a device as a table of checks by cells, and the failures."""
    checks = [check for check in report.checks if check.device == name]
    failed = report.failures(name)
    count = f"{len(failed)} of {len(checks)} checks FAILED" if failed else f"all {len(checks)} checks passed"
    cells = list(dict.fromkeys(check.cell for check in checks if check.cell is not None))
    heading = " " * NAME + "".join(f"{cell:<{CELL}}" for cell in cells) + "largest error"
    rows = [_row(name, checks, cells) for name in dict.fromkeys(check.check for check in checks if check.cell)]
    alone = [f"  {check.check:<{NAME - 2}}{SHOWN[check.status]}" for check in checks if check.cell is None]
    return [f"{name} ({report.devices[name]}): {count}", heading, *rows, *alone, *map(_failure, failed)]


def _row(name: str, checks: Sequence[CheckResult], cells: Sequence[str]) -> str:
    found = {check.cell: check for check in checks if check.check == name}
    status = "".join(f"{SHOWN[found[cell].status]:<{CELL}}" for cell in cells)
    errors = [check.off for check in found.values() if check.off is not None]
    error = f"{max(errors):{'.0f' if name == 'memory' else '.1e'}}{UNITS.get(name, '')}" if errors else ""
    return f"  {name:<{NAME - 2}}{status}{error}".rstrip()


def _failure(check: CheckResult) -> str:
    where = f"{check.check}, {check.cell}" if check.cell else check.check
    plural = "s" * (len(check.issues) > 1)
    issues = f" (pytorch issue{plural} {', '.join(map(str, check.issues))})" if check.issues else ""
    return f"  FAILED {where}: {check.words}{issues}"


def _speeds(report: Report) -> Iterator[str]:
    """Yield a table of speeds; a star marks a device slower than the CPU."""
    sizes = list(dict.fromkeys(speed.hidden_size for speed in report.speeds))
    paces = {(speed.device, speed.cell, speed.hidden_size): speed.characters_per_second for speed in report.speeds}
    yield "Training speed in characters/s, by hidden size (2 layers, batch of 50 x 20)"
    yield " " * NAME + "".join(f"{size:>{NUMBER}}" for size in sizes)
    starred = False
    for device in report.devices:
        own = [speed for speed in report.speeds if speed.device == device]
        if own:
            yield f"  {device}{_threads(own) if report.devices[device].startswith('CPU') else ''}"
        for cell in dict.fromkeys(speed.cell for speed in own):
            row = f"    {cell:<{NAME - 4}}"
            for size in sizes:
                pace = paces.get((device, cell, size))
                slower = pace is not None and pace < paces.get(("cpu", cell, size), 0.0)
                starred |= slower
                row += " " * NUMBER if pace is None else f"{f'{pace:,.0f}' + '*' * slower:>{NUMBER}}"
            yield row.rstrip()
    if starred:
        yield "  * slower than the CPU (pytorch issue 123148)"


def _threads(speeds: Sequence[Speed]) -> str:
    counts = list({speed.hidden_size: speed.threads for speed in speeds}.values())
    if len(set(counts)) == 1:
        return f", {counts[0]} thread{'s' * (counts[0] != 1)}"
    return f", {', '.join(map(str, counts))} threads"


def _verdict(verdict: Verdict) -> list[str]:
    lines = ["Verdict", *(f"  {words}" for words in verdict.words)]
    if verdict.settings:
        lines.append(f"  Run: char-rnn train DATA {' '.join(verdict.settings)}")
    elif verdict.device is not None:
        lines.append(f"  No setting is needed: char-rnn uses {verdict.device} by default.")
    return lines


def _wrapped(lines: Sequence[str], width: int) -> Iterator[str]:
    """Wrap long lines, with two more columns of indent."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        broken = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        yield from broken if len(line) > width else [line]
