"""Cores and memory of the process: how many cores it may use, and how long it keeps freed memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

_MOUNT = "/sys/fs/cgroup"
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h

KEPT = 256 << 20
"""Bytes of free memory at the end of the heap that stay in the process during training."""

LARGEST_BLOCK = 32 << 20
"""Size in bytes from which a block is mapped on its own and unmapped when freed: the largest that glibc accepts."""

AFTERWARDS = 2 * LARGEST_BLOCK
"""The trim threshold after training: the largest that glibc itself chooses. Its own value cannot be read."""

USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


def available_cores() -> int:
    """Return how many cores this process may use, by its affinity and the quota of its control groups."""
    affinity: Any = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = (quota for line in _read("/proc/self/cgroup").splitlines() for quota in _quotas(line))
    return max(1, int(min((cores, *quotas))))


def _quotas(line: str) -> Iterator[float]:
    """Yield the quotas of a control group and its parents, in cores.

    A line of ``/proc/self/cgroup`` is ``number:controllers:path``; version 2 has no controllers there. A container may
    not see the path; its own group is then at the mount.
    """
    _, _, named = line.partition(":")
    controllers, _, path = named.partition(":")
    for folder in (PurePosixPath(path), *PurePosixPath(path).parents):
        if not controllers:
            numbers = _read(f"{_MOUNT}{folder}/cpu.max").split()
        elif "cpu" in controllers.split(","):
            group = f"{_MOUNT}/cpu{folder}"
            numbers = f"{_read(f'{group}/cpu.cfs_quota_us')} {_read(f'{group}/cpu.cfs_period_us')}".split()
        else:
            return
        if len(numbers) == 2 and all(number.isdecimal() and int(number) for number in numbers):  # not "max", not -1
            yield int(numbers[0]) / int(numbers[1])


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep up to ``KEPT`` bytes of freed memory in the process while the block runs.

    By default glibc returns freed memory to the system at every training step and requests it again at the next, at the
    cost of a page fault for each page. Without glibc, or if the environment sets glibc's thresholds, nothing changes.
    """
    mallopt, trim = _glibc()
    chosen = any(name in os.environ for name in USER_SETTINGS) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if mallopt is None or trim is None or chosen:
        yield
        return
    mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)
    mallopt(TRIM_THRESHOLD, KEPT)
    try:
        yield
    finally:
        mallopt(TRIM_THRESHOLD, AFTERWARDS)
        trim(0)


def _glibc() -> tuple[Callable[[int, int], int] | None, Callable[[int], int] | None]:
    """Return glibc's ``mallopt`` and ``malloc_trim``, or None with another C library."""
    if sys.platform != "linux":
        return None, None
    library = ctypes.CDLL(None)
    return getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
