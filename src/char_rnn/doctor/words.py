"""A report in plain words, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from char_rnn.doctor.report import CheckResult, Report, Speed

SHOWN = {"passed": "ok", "failed": "FAILED", "not run": "-"}
UNITS = {"forward": " nats", "memory": " B a step"}
CELL, NAME, NUMBER = 12, 16, 11


def to_text(report: Report, width: int = 80) -> str:
    """Return a report as lines of at most ``width`` columns, 60 at the least."""
    width = max(60, width)
    blocks = [_machine(report.machine)]
    blocks += [_device(report, name) for name in report.devices]
    if report.speeds:
        blocks.append(list(_speeds(report)))
    blocks.append(_verdict(report))
    return "\n\n".join("\n".join(_wrapped(block, width)) for block in blocks)


def _machine(machine: Any) -> list[str]:
    names = {"char-rnn": "char_rnn", "Python": "python", "PyTorch": "torch", "NumPy": "numpy"}
    versions = ", ".join(f"{name} {machine[key]}" for name, key in names.items())
    cores, usable = machine["cores"], machine["usable_cores"]
    processor = [
        machine["processor"] or "a processor of unknown name",
        f"{cores} cores" if usable == cores else f"{cores} cores, {usable} of them for this process",
        f"PyTorch on {machine['threads']} threads" if machine["threads"] != 1 else "PyTorch on 1 thread",
        machine["cpu_capability"],
        *(["fast bfloat16"] if machine["bfloat16_on_cpu"] else []),
        f"kernels {machine['kernels']}" if machine["kernels"] else f"PyTorch alone ({machine['no_kernels']})",
    ]
    where = f"{machine['system']}; {_cuda(machine['cuda'])}; {_mps(machine['mps'])}"
    return [versions, ", ".join(processor), where]


def _cuda(cuda: Any) -> str:
    if cuda is None:
        return "no CUDA"
    rounding = ", cuDNN rounds to TF32" if cuda["tf32_in_cudnn"] else ""
    return f"CUDA {cuda['version']}, cuDNN {cuda['cudnn']}, {', '.join(cuda['gpus'])}{rounding}"


def _mps(mps: Any) -> str:
    return "no MPS" if mps is None else f"MPS on macOS {mps['macos']}, {mps['memory'] / 2**30:.0f} GiB of memory for it"


def _device(report: Report, name: str) -> list[str]:
    """Return the checks of a device as a table of checks by cells, and what failed in words."""
    checks = [check for check in report.checks if check.device == name]
    failed = [check for check in checks if check.status == "failed"]
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
    number = ".0f" if name == "memory" else ".1e"
    error = f"{max(errors):{number}}{UNITS.get(name, '')}" if errors else ""
    return f"  {name:<{NAME - 2}}{status}{error}".rstrip()


def _failure(check: CheckResult) -> str:
    where = f"{check.check}, {check.cell}" if check.cell else check.check
    plural = "s" * (len(check.issues) > 1)
    issues = f" (pytorch issue{plural} {', '.join(map(str, check.issues))})" if check.issues else ""
    return f"  FAILED {where}: {check.words}{issues}"


def _speeds(report: Report) -> Iterator[str]:
    """Make a table of characters a second; a star where a device is slower than the CPU."""
    sizes = list(dict.fromkeys(speed.hidden_size for speed in report.speeds))
    paces = {(speed.device, speed.cell, speed.hidden_size): speed.characters_per_second for speed in report.speeds}
    yield "Characters trained a second, by hidden size (2 layers, batch of 50 x 20)"
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


def _verdict(report: Report) -> list[str]:
    verdict = report.verdict
    lines = ["Verdict", *(f"  {words}" for words in verdict.words)]
    if verdict.settings:
        lines.append(f"  Type: char-rnn train DATA {' '.join(verdict.settings)}")
    elif verdict.device is not None:
        lines.append(f"  Nothing has to be set: char-rnn takes {verdict.device} by itself.")
    return lines


def _wrapped(lines: Sequence[str], width: int) -> Iterator[str]:
    """Break long lines; what is broken off stands two columns further in."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        broken = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        yield from broken if len(line) > width else [line]
