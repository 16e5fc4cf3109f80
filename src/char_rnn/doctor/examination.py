"""Runs every check on every device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import torch

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.batches import batch_change
from char_rnn.doctor.drawing import drawing
from char_rnn.doctor.dropout import dropout
from char_rnn.doctor.finding import Finding
from char_rnn.doctor.memory import memory
from char_rnn.doctor.numbers import forward, gradients, training
from char_rnn.doctor.problem import CELLS, Problem, Sizes
from char_rnn.doctor.report import CheckResult, Report, Speed, Status, Threads
from char_rnn.doctor.speed import COMPARED, HIDDEN, compare_threads, speed
from char_rnn.doctor.verdict import DRAWING, judge
from char_rnn.machine import describe_machine
from char_rnn.utils.device import DeviceManager, first_line, on_threads

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Check:
    """A check of one cell.

    Attributes:
        name: What the report calls it.
        run: Makes the check.
        needs: The check that has to pass before; what follows from a failure is not looked for.
        issues: PyTorch issues that tell of such failures.
        large: Whether all CPU threads are of use; the other models are too small for two.
    """

    name: str
    run: Callable[[Backend, Problem], Finding]
    needs: str | None = None
    issues: tuple[int, ...] = ()
    large: bool = False


CHECKS = (
    Check("forward", forward),
    Check("gradients", gradients, "forward"),
    Check("training", training, "gradients"),
    Check("dropout", dropout, "gradients", (180744, 185351, 190056, 190057)),
    Check("memory", memory, "forward", (145374, 164299)),
    Check("batch change", batch_change, "gradients", (177116,), large=True),
)
DRAWING_ISSUES = (136623, 192577)


def examine(devices: Sequence[str] | None = None, *, speed: bool = True, progress: Progress | None = None) -> Report:
    """Check that the devices of this machine compute right, and how fast.

    Every cell is run on every device in float32 and compared with the CPU in float64. PyTorch's random numbers and
    number of threads are afterwards what they were. A minute or two, without the speed a quarter of that.

    Args:
        devices: Of ``"mps"``, ``"cuda"`` and ``"cpu"``; None for all that there are.
        speed: Whether to measure the speed too.
        progress: Told what is under way, how many parts are done, and of how many.

    Raises:
        ValueError: A device is not there.
    """
    available = DeviceManager.available()
    for name in devices or []:
        if name not in available:
            raise ValueError(f"device {name}: is not there (this machine has {', '.join(available)})")
    return examine_backends([Backend(name) for name in devices or available], speed=speed, progress=progress)


def examine_backends(
    backends: Sequence[Backend],
    *,
    speed: bool = True,
    progress: Progress | None = None,
    sizes: Sizes | None = None,
    cells: Sequence[str] = tuple(CELLS),
) -> Report:
    """Do as :func:`examine`, with devices made by the caller and, if need be, less to compute."""
    began = time.perf_counter()
    machine = describe_machine()
    with _undisturbed():
        examination = _Examination(backends, sizes or Sizes(), cells, speed, progress)
        checks = [check for backend in backends for check in examination.check(backend)]
        threads = examination.compare_threads()
        speeds = [measured for backend in backends for measured in examination.time(backend, threads)]
    names = [backend.name for backend in backends]
    load = (machine["load"] or 0.0) / machine["usable_cores"]
    return Report(
        machine=machine,
        devices={backend.name: backend.describe() for backend in backends},
        checks=checks,
        speeds=speeds,
        threads=threads,
        verdict=judge(names, checks, speeds, threads, DeviceManager.available()[0], load),
        seconds=time.perf_counter() - began,
    )


class _Examination:
    """What the checks of several devices share: the problems with their answers, and the progress."""

    def __init__(
        self, backends: Sequence[Backend], sizes: Sizes, cells: Sequence[str], speed: bool, progress: Progress | None
    ) -> None:
        self.sizes, self.cells, self.progress = sizes, cells, progress
        self.problems = {cell: Problem(cell, sizes) for cell in cells}
        self.timed = HIDDEN if speed else ()
        self.compared = COMPARED if speed and torch.get_num_threads() > 1 and _has_cpu(backends) else ()
        parts = len(cells) * len(CHECKS) + 1 + len(cells) * len(self.timed)
        self.done, self.total = 0, len(backends) * parts + len(self.compared)

    def check(self, backend: Backend) -> Iterator[CheckResult]:
        """Make every check on a device."""
        for cell in self.cells:
            status: dict[str, str] = {}
            for check in CHECKS:
                self._tell(f"{backend.name}: {check.name}, {cell}")
                result = self._check(backend, check, cell, status)
                status[check.name] = result.status
                yield result
        self._tell(f"{backend.name}: {DRAWING}")
        result = _outcome(backend, DRAWING, None, lambda: drawing(backend, self.sizes))
        yield replace(result, issues=DRAWING_ISSUES)

    def compare_threads(self) -> list[Threads]:
        """Compare one CPU thread with all."""
        found = []
        for hidden in self.compared:
            self._tell(f"cpu: threads at hidden size {hidden}")
            found.append(compare_threads(hidden))
        return found

    def time(self, backend: Backend, threads: Sequence[Threads]) -> Iterator[Speed]:
        """Time a device, unless it fails; the CPU on as many threads as are best at the size or the next smaller."""
        best = {compared.hidden_size: compared.best for compared in threads}
        count = torch.get_num_threads()
        for hidden in self.timed:
            if backend.device.type == "cpu":
                count = best.get(hidden, count)
            for cell in self.cells:
                self._tell(f"{backend.name}: speed of {cell} at hidden size {hidden}")
                with suppress(Exception):  # the checks have told of it; at large sizes the memory may not suffice
                    yield speed(backend, cell, hidden, count)

    def _check(self, backend: Backend, check: Check, cell: str, status: Mapping[str, str]) -> CheckResult:
        if check.needs and status[check.needs] != "passed":
            words = f"builds on {check.needs}, which did not pass"
            return CheckResult(backend.name, check.name, cell, "not run", words, issues=check.issues)
        threads = torch.get_num_threads() if check.large else 1
        with on_threads(threads):
            result = _outcome(backend, check.name, cell, lambda: check.run(backend, self.problems[cell]))
        return replace(result, issues=check.issues)

    def _tell(self, what: str) -> None:
        if self.progress is not None:
            self.progress(what, self.done, self.total)
        self.done += 1


def _outcome(backend: Backend, check: str, cell: str | None, run: Callable[[], Finding]) -> CheckResult:
    """Make a check; whatever a device raises is a failure of it."""
    began = time.perf_counter()
    try:
        with _whole_float32(backend):
            finding = run()
    except Exception as error:  # drivers fail in ways of their own
        finding = Finding(False, f"{type(error).__name__}: {first_line(error)}")
    status: Status = "passed" if finding.passed else "failed"
    seconds = time.perf_counter() - began
    return CheckResult(backend.name, check, cell, status, finding.words, finding.off, finding.allowed, seconds=seconds)


@contextmanager
def _whole_float32(backend: Backend) -> Iterator[None]:
    """Keep cuDNN from rounding to TF32, as it does by itself: its error would hide those that are looked for."""
    if backend.device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave the generators of every device as they were."""
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            yield
    finally:
        if mps is not None:
            torch.mps.set_rng_state(mps)


def _has_cpu(backends: Sequence[Backend]) -> bool:
    return any(backend.device.type == "cpu" for backend in backends)
