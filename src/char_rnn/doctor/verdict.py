"""From what was found to what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from char_rnn.doctor.report import CheckResult, Speed, Threads, Verdict

DRAWING = "drawing"
FASTER = 1.1
IDLE = 0.25
BUSY = "The machine was busy; timings and the best number of threads may differ when it is idle."


def judge(
    devices: Sequence[str],
    checks: Sequence[CheckResult],
    speeds: Sequence[Speed],
    threads: Sequence[Threads],
    automatic: str,
    load: float = 0.0,
) -> Verdict:
    """Choose the fastest device that trains right; without speeds the first.

    Drawing does not count: this package draws on the CPU, in NumPy, wherever it trains.

    Args:
        devices: Those examined, the likely best first.
        checks: What was found.
        speeds: How fast they are; may be empty.
        threads: One CPU thread against all; may be empty.
        automatic: The device that ``--device auto`` takes.
        load: Other work on the machine when the examination began, as a part of its cores.
    """
    failed = {
        name: [check for check in checks if check.device == name and check.status == "failed"] for name in devices
    }
    wrong = {name: [check for check in found if check.check != DRAWING] for name, found in failed.items()}
    right = [name for name in devices if not wrong[name]]
    reproaches = [words for name in devices for words in _reproaches(name, failed[name])]
    if not right:
        return Verdict(None, (), (*reproaches, _no_device(devices)), sound=False)
    device = max(right, key=lambda name: _pace(name, right, speeds))
    settings = () if device == automatic else (f"--device {device}",)
    timed = bool(speeds)
    words = [
        _choice(device, devices, right, failed[device], timed),
        *_exceptions(device, right, speeds),
        *_about_threads(device, threads),
        *([BUSY] if timed and load > IDLE else []),
        *reproaches,
    ]
    sound = not failed[device] and not wrong.get(automatic)
    return Verdict(device, settings, tuple(words), sound)


def _choice(
    device: str, devices: Sequence[str], right: Sequence[str], failed: Sequence[CheckResult], timed: bool
) -> str:
    checked = "every check passed" if not failed else f"every check but {DRAWING} passed"
    if len(devices) == 1:
        return f"Train on {device}: {checked}."
    if len(right) == 1:
        return f"Train on {device}: {checked}, on no other device that was examined."
    why = "the fastest of those that train right" if timed else "the first choice of those that train right"
    return f"Train on {device}: {checked}, and it is {why} ({', '.join(right)})."


def _exceptions(device: str, right: Sequence[str], speeds: Sequence[Speed]) -> list[str]:
    """Return where another device that trains right is clearly faster than the chosen one."""
    paces = {(speed.device, speed.cell, speed.hidden_size): speed.characters_per_second for speed in speeds}
    words = []
    for other in right:
        faster: dict[str, list[str]] = {}
        for (name, cell, hidden), pace in paces.items():
            if name == device and paces.get((other, cell, hidden), 0.0) > FASTER * pace:
                faster.setdefault(cell, []).append(str(hidden))
        if faster:
            where = "; ".join(f"{cell} of {', '.join(sizes)}" for cell, sizes in faster.items())
            words.append(f"{other} is faster for {where}: give --device {other} for these.")
    return words


def _about_threads(device: str, threads: Sequence[Threads]) -> list[str]:
    if device != "cpu":
        return []
    words = []
    for compared in threads:
        ratio = compared.with_one / compared.with_all
        one, every = "1 thread", f"{compared.threads} threads"
        fast, slow, times = (one, every, ratio) if ratio > 1 else (every, one, 1 / ratio)
        words.append(f"at hidden size {compared.hidden_size} {fast} train {times:.3g} times as fast as {slow}")
    if not words:
        return []
    listed = "; ".join(words).replace("1 thread train", "1 thread trains")
    return [f"Threads: {listed}. char-rnn train chooses them by timing some steps when it starts."]


def _reproaches(device: str, failed: Sequence[CheckResult]) -> list[str]:
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
        words.append(
            f"Do not draw on {device} in programs of your own: {draws[0].words}.{_issues(draws)} char-rnn itself draws "
            "its texts on the CPU, whatever the device, and they are right."
        )
    return words


def _issues(checks: Sequence[CheckResult]) -> str:
    numbers = sorted({number for check in checks for number in check.issues})
    return f" See pytorch issue{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}." if numbers else ""


def _no_device(devices: Sequence[str]) -> str:
    if devices == ["cpu"] or "cpu" in devices:
        return "No device trains right. Install another version of PyTorch and run char-rnn doctor again."
    return "None of the devices examined trains right. Use --device cpu, and examine it with char-rnn doctor."


def _pace(device: str, right: Sequence[str], speeds: Sequence[Speed]) -> float:
    """Return the mean logarithm of a device's speeds; without any, the place in the order of devices."""
    logarithms = [math.log(speed.characters_per_second) for speed in speeds if speed.device == device]
    return sum(logarithms) / len(logarithms) if logarithms else -float(right.index(device))
