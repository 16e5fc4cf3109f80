"""Keeps the memory of a training's buffers in the process between its steps, where the C library is glibc.

By default glibc returns freed memory to the system at every step and requests it again at the next; each page of it
then costs a page fault. Only ``mallopt`` changes that in a running process.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h

KEPT = 256 << 20
"""Bytes of free memory at the end of the heap that are not returned to the system during a training."""

LARGEST_BLOCK = 32 << 20
"""Bytes from which on a block is mapped by itself, and unmapped when it is freed: the most that glibc takes."""

AFTERWARDS = 2 * LARGEST_BLOCK
"""What is kept after a training: the most that glibc comes to by itself. Its own threshold cannot be read."""

OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep up to ``KEPT`` bytes of freed memory while the block runs; return what is free to the system after it.

    Does nothing without glibc, or where the environment sets glibc's thresholds.
    """
    mallopt, trim = _glibc()
    if mallopt is None or trim is None or _chosen():
        yield
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
    mallopt(M_TRIM_THRESHOLD, KEPT)
    try:
        yield
    finally:
        mallopt(M_TRIM_THRESHOLD, AFTERWARDS)
        trim(0)


def _glibc() -> tuple[Callable[[int, int], int] | None, Callable[[int], int] | None]:
    """Return glibc's ``mallopt`` and ``malloc_trim``; None where the C library is another one."""
    if sys.platform != "linux":
        return None, None
    library = ctypes.CDLL(None)
    return getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)


def _chosen() -> bool:
    return any(name in os.environ for name in OF_THE_USER) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
