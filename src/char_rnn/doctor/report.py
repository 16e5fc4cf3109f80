"""The result of a check of the machine, as data and as text, and the recommendation that follows from it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from char_rnn.utils.terminal import counted

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


DRAWING = "drawing"
FASTER = 1.1  # relative speed from which on a device is clearly faster
IDLE = 0.25  # load per core of an idle machine
BUSY = "The machine was busy; timings and the best number of threads may differ when it is idle."
NO_DEVICE = "No device trains correctly. Install another version of PyTorch and run char-rnn doctor again."
NO_CHECKED_DEVICE = "None of the checked devices trains correctly. Use --device cpu, and check it with char-rnn doctor."


def judge(
    devices: Sequence[str],
    checks: Sequence[CheckResult],
    speeds: Sequence[Speed],
    threads: Sequence[Threads],
    automatic: str,
    load: float = 0.0,
) -> Verdict:
    """Choose the fastest device that trains correctly, or the first one without speeds.

    Drawing does not count: this package samples on the CPU with NumPy, wherever it trains. The devices are in order
    of preference; ``automatic`` is that of ``--device auto``, ``load`` the load per core at the beginning.
    """
    failed = {name: [each for each in checks if each.device == name and each.status == "failed"] for name in devices}
    wrong = {name: [check for check in found if check.check != DRAWING] for name, found in failed.items()}
    right = [name for name in devices if not wrong[name]]
    warnings = [words for name in devices for words in _warnings(name, failed[name])]
    if not right:
        advice = NO_DEVICE if "cpu" in devices else NO_CHECKED_DEVICE
        return Verdict(None, (), (*warnings, advice), sound=False)
    device = max(right, key=lambda name: _pace(name, speeds))
    words = [
        _choice(device, devices, right, failed[device], bool(speeds)),
        *_exceptions(device, right, speeds),
        *(_about_threads(threads) if device == "cpu" else []),
        *([BUSY] if speeds and load > IDLE else []),
        *warnings,
    ]
    settings = () if device == automatic else (f"--device {device}",)
    return Verdict(device, settings, tuple(words), sound=not failed[device] and not wrong.get(automatic))


def _choice(
    device: str, devices: Sequence[str], right: Sequence[str], failed: Sequence[CheckResult], timed: bool
) -> str:
    passed = f"every check but {DRAWING} passed" if failed else "every check passed"
    if len(devices) == 1:
        return f"Train on {device}: {passed}."
    if len(right) == 1:
        return f"Train on {device}: {passed}. All other devices failed."
    why = "the fastest" if timed else "the first choice"
    return f"Train on {device}: {passed}, and it is {why} of the devices that train correctly ({', '.join(right)})."


def _exceptions(device: str, right: Sequence[str], speeds: Sequence[Speed]) -> list[str]:
    """Return where another correct device is clearly faster than the chosen one."""
    paces = _paces(speeds)
    words = []
    for other in right:
        faster: dict[str, list[str]] = {}
        for (name, cell, hidden), pace in paces.items():
            if name == device and paces.get((other, cell, hidden), 0.0) > FASTER * pace:
                faster.setdefault(cell, []).append(str(hidden))
        if faster:
            where = "; ".join(f"{cell} of hidden size {', '.join(sizes)}" for cell, sizes in faster.items())
            words.append(f"{other} is faster for {where}: use --device {other} there.")
    return words


def _about_threads(threads: Sequence[Threads]) -> list[str]:
    words = []
    for compared in threads:
        ratio = compared.with_one / compared.with_all
        one, every = "1 thread is", f"{compared.threads} threads are"
        fast, slow, times = (one, every, ratio) if ratio > 1 else (every, one, 1 / ratio)
        slow = slow.rpartition(" ")[0]
        words.append(f"at hidden size {compared.hidden_size} {fast} {times:.3g} times as fast as {slow}")
    advice = "char-rnn train selects the number of threads by timing a few steps at the start."
    return [f"Threads: {'; '.join(words)}. {advice}"] if words else []


def _warnings(device: str, failed: Sequence[CheckResult]) -> list[str]:
    """Return what a device must not be used for, and why."""
    words = []
    wrong = [check for check in failed if check.check != DRAWING]
    if wrong:
        cells: dict[str, list[str]] = {}
        for check in wrong:
            cells.setdefault(check.check, []).append(check.cell or "")
        what = "; ".join(f"{check} of {', '.join(names)}" for check, names in cells.items())
        words.append(f"Do not train on {device}: wrong {what}.{_issues(wrong, ' See {}.')}")
    draws = [check for check in failed if check.check == DRAWING]
    if draws:
        advice = "char-rnn itself samples texts on the CPU, whatever the device, so its texts are correct."
        see = _issues(draws, " See {}.")
        words.append(f"Do not draw random numbers on {device} in your own programs: {draws[0].words}.{see} {advice}")
    return words


def _paces(speeds: Sequence[Speed]) -> dict[tuple[str, str, int], float]:
    return {(speed.device, speed.cell, speed.hidden_size): speed.characters_per_second for speed in speeds}


def _pace(device: str, speeds: Sequence[Speed]) -> float:
    """Return the mean logarithm of a device's speeds; 0 without any, so that the first device is chosen."""
    logarithms = [math.log(speed.characters_per_second) for speed in speeds if speed.device == device]
    return sum(logarithms) / len(logarithms) if logarithms else 0.0


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
        f"PyTorch on {counted(machine['threads'], 'thread')}",
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
    return f"  FAILED {where}: {check.words}{_issues([check], ' ({})')}"


def _issues(checks: Sequence[CheckResult], form: str) -> str:
    """Return the issues about some checks in a form, or an empty text without any."""
    numbers = sorted({number for check in checks for number in check.issues})
    plural = "s" * (len(numbers) > 1)
    return form.format(f"pytorch issue{plural} {', '.join(map(str, numbers))}") if numbers else ""


def _speeds(report: Report) -> Iterator[str]:
    """Yield a table of speeds; a star marks a device slower than the CPU."""
    sizes = list(dict.fromkeys(speed.hidden_size for speed in report.speeds))
    paces = _paces(report.speeds)
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
    return f", {counted(counts[0], 'thread')}" if len(set(counts)) == 1 else f", {', '.join(map(str, counts))} threads"


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
