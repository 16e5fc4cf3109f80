"""What the parts of ``device.py`` share: the device, and what a part finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from char_rnn.utils.terminal import first_line

TESTS = Path(__file__).resolve().parents[1] / "tests"
Row = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """The outcome of a check (None: it was not run) in words, with the measured error and its tolerance."""

    name: str
    passed: bool | None
    words: str = ""
    off: float | None = None
    allowed: float | None = None


@dataclass(frozen=True)
class Figure:
    """A row of a table of timings."""

    table: str
    row: Row


Found = Iterator[Check | Figure]


@dataclass(frozen=True)
class Setup:
    """How a part runs: on cuda, mps or cpu, with a folder for its files, and until a time of ``time.monotonic``."""

    device: str
    small: bool
    folder: Path
    deadline: float

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    @property
    def precisions(self) -> list[str]:
        """Precisions that the device trains in."""
        if self.device == "cpu":
            return ["float32", "bfloat16"]
        return ["float32", "bfloat16", *(["float16", "float64"] if self.device == "cuda" else [])]


@dataclass(frozen=True)
class Part:
    """A part of the examination, with its share of the time."""

    run: Callable[[Setup], Found]
    share: float

    @property
    def words(self) -> str:
        """Description of the part."""
        return (self.run.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ")


def within(name: str, off: float | None, allowed: float, words: str = "") -> Check:
    """Return a check of an error against its tolerance."""
    return Check(name, off is not None and bool(off <= allowed), words, off, allowed)


def attempt(name: str, find: Callable[[], Found]) -> Found:
    """Yield what a function finds, and a failed check if it raises an exception."""
    try:
        yield from find()
    except Exception as error:  # drivers raise exceptions of their own
        yield Check(f"{name} runs to its end", False, f"{type(error).__name__}: {first_line(error)}")


@contextmanager
def peak_memory(setup: Setup) -> Iterator[Callable[[], Row]]:
    """Measure the peak memory of CUDA tensors, in 10^6 bytes; other devices do not report it."""
    on_cuda = setup.device == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    yield lambda: {"peak MB": torch.cuda.max_memory_allocated() / 1e6} if on_cuda else {}
