"""How many cores a process may use: those of the machine, or fewer by its affinity or a quota of a control group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

_MOUNT = "/sys/fs/cgroup"


def available_cores() -> int:
    """Return how many cores this process may use, which a container can limit."""
    affinity: Any = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cpu_quota(_read("/proc/self/cgroup"), _read)
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(groups: str, read: Callable[[str], str]) -> float | None:
    """Return how many cores' time the control groups of a process allow it, of both versions; ``None`` for any.

    Args:
        groups: What ``/proc/self/cgroup`` says: ``number:controllers:path``, a line a hierarchy; version 2 has no
            controllers there. A container may not see the path; its own group is the mount then.
        read: Returns what a file holds; nothing if it cannot be read.
    """
    return min((quota for line in groups.splitlines() for quota in _quotas(line, read)), default=None)


def _quotas(line: str, read: Callable[[str], str]) -> Iterator[float]:
    """The quotas of a group and of those that it is in."""
    _, _, named = line.partition(":")
    controllers, _, path = named.partition(":")
    for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
        if not controllers:
            numbers = read(f"{_MOUNT}{folder}/cpu.max").split()
        elif "cpu" in controllers.split(","):
            group = f"{_MOUNT}/cpu{folder}"
            numbers = f"{read(f'{group}/cpu.cfs_quota_us')} {read(f'{group}/cpu.cfs_period_us')}".split()
        else:
            return
        if len(numbers) == 2 and all(number.isdecimal() and int(number) for number in numbers):  # not "max", not -1
            yield int(numbers[0]) / int(numbers[1])


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""
