"""Sides measured in turn: medians with their spread, and ratios round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

Name = TypeVar("Name")


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """The middle run."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a part of the median."""
        if len(self.seconds) < 4:
            return (max(self.seconds) - min(self.seconds)) / 2 / self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def in_turn(sides: Mapping[Name, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[Name, Timing]:
    """Run the sides A B A B ..., so that a machine that changes its speed changes it for both."""
    seconds: dict[Name, list[float]] = {name: [] for name in sides}
    for number in range(warmup + rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - began)
    return {name: Timing(values) for name, values in seconds.items()}


def timed_each(sides: Mapping[Name, Callable[[int], object]], rounds: int, seconds: float = 0.3) -> dict[Name, Timing]:
    """Run sides that do a given number of things in turn, each for about ``seconds``; return the seconds of one."""
    counts = {name: _count_in(side, seconds) for name, side in sides.items()}
    measured = in_turn({name: partial(side, counts[name]) for name, side in sides.items()}, rounds, warmup=0)
    return {name: Timing([total / counts[name] for total in timing.seconds]) for name, timing in measured.items()}


def _count_in(side: Callable[[int], object], seconds: float) -> int:
    """Return how many things a side does in so many seconds, at least one; it is warm then."""
    side(1)
    made = 1
    while True:
        began = time.perf_counter()
        side(made)
        taken = time.perf_counter() - began
        if taken > seconds / 10:
            return max(1, round(made * seconds / taken))
        made *= 2


def ratio(timings: Mapping[str, Timing], side: str, other: str) -> float:
    """Return the median over the rounds of (seconds of ``side``) / (seconds of ``other``)."""
    pairs = zip(timings[side].seconds, timings[other].seconds, strict=True)
    return statistics.median(a / b for a, b in pairs)
