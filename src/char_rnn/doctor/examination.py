"""Runs every check on every device, and measures their speed.

Dimensions: B batch, T time, H hidden.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from char_rnn.doctor.checks import CHECKS, DRAWING_CHECK, Check, Finding
from char_rnn.doctor.problem import CELLS, LAYERS, RATE, SEED, Backend, Problem, Sizes, whole_float32
from char_rnn.doctor.report import CheckResult, Report, Speed, Status, Threads, judge
from char_rnn.machine import describe_machine
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import DeviceManager, describe, on_threads, synchronize
from char_rnn.utils.terminal import first_line

HIDDEN = (128, 512, 1024)  # sizes whose speed is measured
COMPARED = HIDDEN[:2]  # sizes at which one thread is compared with all
VOCABULARY, BATCH, TIME = 65, 50, 20
SECONDS, ROUNDS = 0.5, 3

Progress = Callable[[str, int, int], None]


def examine(devices: Sequence[str] | None = None, *, speed: bool = True, progress: Progress | None = None) -> Report:
    """Check that the devices of this machine compute correctly, and measure their speed.

    Every cell runs on every device in float32 and is compared with the CPU in float64. PyTorch's random state and
    number of threads are restored afterwards. It takes one or two minutes, a quarter of that without the speed.

    Args:
        devices: Some of ``"mps"``, ``"cuda"`` and ``"cpu"``; None for all available ones.
        speed: Whether to measure the speed.
        progress: Called with the next part, the number of finished parts, and the number of all.

    Raises:
        ValueError: A device is not available.
    """
    available = DeviceManager.available()
    for name in devices or []:
        if name not in available:
            raise ValueError(f"device {name}: not available (this machine has {', '.join(available)})")
    return examine_backends([Backend(name) for name in devices or available], speed=speed, progress=progress)


def examine_backends(
    backends: Sequence[Backend],
    *,
    speed: bool = True,
    progress: Progress | None = None,
    sizes: Sizes | None = None,
    cells: Sequence[str] = tuple(CELLS),
) -> Report:
    """Check devices given by the caller, as :func:`examine` does, optionally with smaller sizes and fewer cells."""
    began = time.perf_counter()
    machine = describe_machine()
    with _restored():
        examination = _Examination(backends, sizes or Sizes(), cells, speed, progress)
        checks = [check for backend in backends for check in examination.check(backend)]
        threads = list(examination.compare_threads())
        speeds = [measured for backend in backends for measured in examination.time(backend, threads)]
    names = [backend.name for backend in backends]
    load = (machine["load"] or 0.0) / machine["usable_cores"]
    return Report(
        machine=machine,
        devices={backend.name: describe(backend.device) for backend in backends},
        checks=checks,
        speeds=speeds,
        threads=threads,
        verdict=judge(names, checks, speeds, threads, DeviceManager.available()[0], load),
        seconds=time.perf_counter() - began,
    )


class _Examination:
    """The problems with their results, which the devices share, and the progress."""

    def __init__(
        self, backends: Sequence[Backend], sizes: Sizes, cells: Sequence[str], speed: bool, progress: Progress | None
    ) -> None:
        self.problems, self.progress = {cell: Problem(cell, sizes) for cell in cells}, progress
        self.timed = HIDDEN if speed else ()
        has_cpu = any(backend.device.type == "cpu" for backend in backends)
        self.compared = COMPARED if speed and torch.get_num_threads() > 1 and has_cpu else ()
        parts = len(cells) * len(CHECKS) + 1 + len(cells) * len(self.timed)
        self.done, self.total = 0, len(backends) * parts + len(self.compared)

    def check(self, backend: Backend) -> Iterator[CheckResult]:
        """Run every check on a device."""
        for cell, problem in self.problems.items():
            status: dict[str, Status] = {}
            for check in CHECKS:
                self._report(f"{backend.name}: {check.name}, {cell}")
                if check.needs and status[check.needs] != "passed":
                    words = f"depends on {check.needs}, which did not pass"
                    result = CheckResult(backend.name, check.name, cell, "not run", words, issues=check.issues)
                else:
                    result = _outcome(backend, check, cell, problem)
                status[check.name] = result.status
                yield result
        self._report(f"{backend.name}: {DRAWING_CHECK.name}")
        yield _outcome(backend, DRAWING_CHECK, None, next(iter(self.problems.values())))

    def compare_threads(self) -> Iterator[Threads]:
        """Compare one CPU thread with all."""
        for hidden in self.compared:
            self._report(f"cpu: threads at hidden size {hidden}")
            yield _compare_threads(hidden)

    def time(self, backend: Backend, threads: Sequence[Threads]) -> Iterator[Speed]:
        """Measure a device; the CPU with the best number of threads at this size or the next smaller one."""
        best = {compared.hidden_size: compared.best for compared in threads}
        count = torch.get_num_threads()
        for hidden in self.timed:
            if backend.device.type == "cpu":
                count = best.get(hidden, count)
            for cell in self.problems:
                self._report(f"{backend.name}: speed of {cell} at hidden size {hidden}")
                with suppress(Exception):  # the checks reported it; a large model may not fit into memory
                    yield _speed(backend, cell, hidden, count)

    def _report(self, what: str) -> None:
        if self.progress is not None:
            self.progress(what, self.done, self.total)
        self.done += 1


def _outcome(backend: Backend, check: Check, cell: str | None, problem: Problem) -> CheckResult:
    """Run a check; an exception is a failure."""
    began = time.perf_counter()
    try:
        with whole_float32(), on_threads(torch.get_num_threads() if check.large else 1):
            finding = check.run(backend, problem)
    except Exception as error:  # drivers raise exceptions of their own
        finding = Finding(False, f"{type(error).__name__}: {first_line(error)}")
    status: Status = "passed" if finding.passed else "failed"
    about = (status, finding.words, finding.off, finding.allowed, check.issues, time.perf_counter() - began)
    return CheckResult(backend.name, check.name, cell, *about)


@contextmanager
def _restored() -> Iterator[None]:
    """Restore the random state of every device afterwards."""
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            yield
    finally:
        if mps is not None:
            torch.mps.set_rng_state(mps)


def _speed(backend: Backend, cell: str, hidden: int, threads: int) -> Speed:
    """Measure the training speed of two layers for about half a second, at least one step."""
    with on_threads(threads):
        train = _steps(backend, cell, hidden)
        train(0)  # warm-up
        return Speed(backend.name, cell, hidden, BATCH * TIME / train(SECONDS), threads)


def _compare_threads(hidden: int) -> Threads:
    """Measure an LSTM's training speed on one CPU thread and on all of PyTorch's, in turn; the medians."""
    counts = (1, torch.get_num_threads())
    train = _steps(Backend("cpu"), "lstm", hidden)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(1 + ROUNDS):
        for count, measured in seconds.items():
            with on_threads(count):
                measured.append(train(SECONDS / ROUNDS))
    one, every = (BATCH * TIME / statistics.median(seconds[count][1:]) for count in counts)
    return Threads(hidden, counts[1], one, every)


def _steps(backend: Backend, cell: str, hidden: int) -> Callable[[float], float]:
    """Return a function that trains on random characters for some seconds, and returns the seconds of a step."""
    torch.manual_seed(SEED)
    stepper = TrainStep(backend.place(CELLS[cell](VOCABULARY, hidden, LAYERS)), TrainingConfig(), backend.device)
    ids = torch.randint(VOCABULARY, (BATCH, TIME + 1), generator=torch.Generator().manual_seed(SEED))

    def train(seconds: float) -> float:
        began, made = time.perf_counter(), 0
        while not made or time.perf_counter() - began < seconds:
            stepper.step(ids[:, :-1], ids[:, 1:], None, RATE)
            synchronize(backend.device)
            made += 1
        return (time.perf_counter() - began) / made

    return train
