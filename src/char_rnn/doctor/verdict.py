"""The recommendation that follows from the checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from char_rnn.doctor.report import CheckResult, Speed, Threads, Verdict

DRAWING = "drawing"
FASTER = 1.1  # relative speed from which on a device is clearly faster
IDLE = 0.25  # load per core of an idle machine
BUSY = "The machine was busy; timings and the best number of threads may differ when it is idle."


def judge(
    devices: Sequence[str],
    checks: Sequence[CheckResult],
    speeds: Sequence[Speed],
    threads: Sequence[Threads],
    automatic: str,
    load: float = 0.0,
) -> Verdict:
    """Choose the fastest device that trains correctly, or the first one without speeds.

    Drawing does not count: this package samples on the CPU with NumPy, wherever it trains.

    Args:
        devices: The checked devices, best first.
        checks: Outcomes of the checks.
        speeds: Speeds; may be empty.
        threads: Comparisons of threads; may be empty.
        automatic: The device that ``--device auto`` uses.
        load: Load per core at the beginning.
    """
    failed = {name: [each for each in checks if each.device == name and each.status == "failed"] for name in devices}
    wrong = {name: [check for check in found if check.check != DRAWING] for name, found in failed.items()}
    right = [name for name in devices if not wrong[name]]
    warnings = [words for name in devices for words in _warnings(name, failed[name])]
    if not right:
        return Verdict(None, (), (*warnings, _no_device(devices)), sound=False)
    device = max(right, key=lambda name: _pace(name, right, speeds))
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
    paces = {(speed.device, speed.cell, speed.hidden_size): speed.characters_per_second for speed in speeds}
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
        words.append(f"Do not train on {device}: wrong {what}.{_issues(wrong)}")
    draws = [check for check in failed if check.check == DRAWING]
    if draws:
        advice = "char-rnn itself samples texts on the CPU, whatever the device, so its texts are correct."
        words.append(
            f"Do not draw random numbers on {device} in your own programs: {draws[0].words}.{_issues(draws)} {advice}"
        )
    return words


def _issues(checks: Sequence[CheckResult]) -> str:
    numbers = sorted({number for check in checks for number in check.issues})
    return f" See pytorch issue{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}." if numbers else ""


def _no_device(devices: Sequence[str]) -> str:
    if "cpu" in devices:
        return "No device trains correctly. Install another version of PyTorch and run char-rnn doctor again."
    return "None of the checked devices trains correctly. Use --device cpu, and check it with char-rnn doctor."


def _pace(device: str, right: Sequence[str], speeds: Sequence[Speed]) -> float:
    """Return the mean logarithm of a device's speeds; without speeds, its place in the order of devices."""
    logarithms = [math.log(speed.characters_per_second) for speed in speeds if speed.device == device]
    return sum(logarithms) / len(logarithms) if logarithms else -float(right.index(device))
