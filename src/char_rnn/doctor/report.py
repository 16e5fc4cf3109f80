"""What an examination found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "not run"]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check on one device.

    Attributes:
        device: Name of the device.
        check: Name of the check.
        cell: Which recurrent cell; None for a check without a model.
        status: ``"not run"`` when a check that it builds on had failed.
        words: What was found, in a line.
        off: The error that was measured, in the check's own unit; None where nothing was.
        allowed: The largest error that passes.
        issues: Numbers of the PyTorch issues that tell of such a failure.
        seconds: How long it took.
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
    """Characters trained a second, on batches of 50 x 20 characters, two layers, float32.

    Attributes:
        threads: CPU threads that PyTorch computed with.
    """

    device: str
    cell: str
    hidden_size: int
    characters_per_second: float
    threads: int


@dataclass(frozen=True)
class Threads:
    """Characters trained a second by an LSTM on one CPU thread and on all, timed in turn."""

    hidden_size: int
    threads: int
    with_one: float
    with_all: float

    @property
    def best(self) -> int:
        """The number of threads to take: all of them unless one alone is clearly faster, by a twentieth."""
        return 1 if self.with_one > 1.05 * self.with_all else self.threads


@dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
        device: The device to train on; None if there is none that computes right.
        settings: What to type after ``char-rnn train``, one option each.
        words: The verdict, a sentence or two an item.
        sound: Whether every check passed on that device, and the device that is taken by itself trains right.
    """

    device: str | None
    settings: tuple[str, ...]
    words: tuple[str, ...]
    sound: bool


@dataclass(frozen=True)
class Report:
    """A whole examination.

    Attributes:
        machine: Versions, processor and devices, by name.
        devices: The devices examined, with a description of each.
        checks: In the order in which they ran.
        speeds: Empty if the speed was left out.
        threads: Likewise, and where there is only one thread.
        verdict: What to do.
        seconds: How long the examination took.
    """

    machine: Mapping[str, Any]
    devices: Mapping[str, str]
    checks: Sequence[CheckResult]
    speeds: Sequence[Speed]
    threads: Sequence[Threads]
    verdict: Verdict
    seconds: float

    def failures(self, device: str | None = None) -> list[CheckResult]:
        """Return the checks that failed, on one device or on all."""
        return [check for check in self.checks if check.status == "failed" and device in {None, check.device}]

    def to_dict(self) -> dict[str, Any]:
        """Return everything in terms that JSON has; an error that is not a number becomes null."""
        return {
            **asdict(self),
            "checks": [{**asdict(check), "off": _finite(check.off)} for check in self.checks],
            "threads": [{**asdict(threads), "best": threads.best} for threads in self.threads],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
