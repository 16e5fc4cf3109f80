"""What the machine can do at best: matrix products a second, and bytes read a second.

Dimensions: B rows, T time, H hidden.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from char_rnn.bench.cost import FLOP
from char_rnn.bench.timing import timed_each
from char_rnn.bench.writing_sides import Side, reader

Row = dict[str, Any]
SQUARE = (512, 1024, 2048)
HIDDEN = (128, 512, 2048)
BATCH, TIME = 50, 50
LEAST_READ, LEAST_SHARED, MOST_READ = 1 << 18, 1 << 21, 1 << 30
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def product_rates(threads: Sequence[int], rounds: int, seconds: float, quick: bool = False) -> list[Row]:
    """Multiply matrices in float32 by ``torch.mm``, for each number of threads.

    Square ones; those of a step of an LSTM, (B, H) by (H, 4H); and those of all the steps of its batch at once,
    (B T, H) by (H, 4H), as training makes them.
    """
    square, hidden = (SQUARE[1:], HIDDEN[1:2]) if quick else (SQUARE, HIDDEN)
    shapes = [("square", n, n, n) for n in square]
    shapes += [("a step", BATCH, h, 4 * h) for h in hidden]
    shapes += [("a batch", BATCH * TIME, h, 4 * h) for h in hidden]
    sides = {(shape, count): _multiply(*shape[1:], count) for shape in shapes for count in threads}
    rows = []
    for ((kind, m, k, n), count), timing in timed_each(sides, rounds, seconds).items():
        rows.append(
            {
                "products": kind,
                "shape": f"{m} x {k} by {k} x {n}",
                "threads": count,
                "GFLOP/s": FLOP * m * k * n / timing.median / 1e9,
                "spread": timing.spread,
            }
        )
    return rows


def _multiply(rows: int, inner: int, columns: int, threads: int) -> Side:
    a, b, out = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)

    def run(count: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(count):
            torch.mm(a, b, out=out)

    return run


def read_rates(threads: Sequence[int], rounds: int, seconds: float, quick: bool = False) -> list[Row]:
    """Read arrays of growing size over and over, for each number of threads, to where no cache holds them.

    Below 2 MB several threads of Python wait for each other more than they read, so that these are left out.
    """
    sizes = [size for size in read_sizes() if not quick or size in (1 << 20, 1 << 23, max(read_sizes()))]
    rows = []
    for size in sizes:
        counts = [count for count in threads if count == 1 or size >= LEAST_SHARED]
        for count, timing in timed_each({count: reader(size, count) for count in counts}, rounds, seconds).items():
            rows.append(
                {
                    "read, MB": size / 1e6,
                    "threads": count,
                    "GB/s": size / timing.median / 1e9,
                    "spread": timing.spread,
                    "fits in": level_of(size, count),
                }
            )
    return rows


def read_sizes() -> list[int]:
    """Return the powers of two from 256 KB to 1 GB, less where memory is short."""
    most = min(MOST_READ, psutil.virtual_memory().available // 4)
    return [LEAST_READ << n for n in range(13) if LEAST_READ << n <= most]


def level_of(size: float, threads: int = 1) -> str:
    """Return the smallest cache that holds so many bytes, a core's own counted for each thread; else "memory"."""
    for name, capacity, shared in caches():
        if size <= capacity * (1 if shared else threads):
            return name
    return "memory" if caches() else "not known"


def caches() -> list[tuple[str, int, bool]]:
    """Return the processor's data caches from the nearest: name, bytes, whether cores share it; none if not told."""
    if platform.system() == "Darwin":
        return list(_caches_of_darwin())
    found = []
    for index in sorted(CACHES.glob("index*")):
        with suppress(OSError, ValueError):
            kind, level, size, sharing = (
                (index / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_list")
            )
            unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
            if kind != "Instruction":
                found.append((f"L{level}", int(size.rstrip("KM")) * unit, not sharing.isdecimal() or level == "3"))
    return found


def _caches_of_darwin() -> Iterator[tuple[str, int, bool]]:
    for level, name in ((1, "hw.perflevel0.l1dcachesize"), (2, "hw.perflevel0.l2cachesize")):
        with suppress(OSError, ValueError, subprocess.SubprocessError):
            told = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=True, timeout=5).stdout
            yield f"L{level}", int(told), level > 1
