"""A sweep: one run for every combination of a grid, one after the other, in one folder; cut off, it can go on."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from char_rnn.data.sources import find_source, is_stream, joined
from char_rnn.runs import STATE
from char_rnn.runs.listing import RunSummary, summarize
from char_rnn.sweep.folder import claim, default_folder
from char_rnn.sweep.grid import Grid, Point, points
from char_rnn.training.evaluation import TrainingResult
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.run import resume_run, start_run
from char_rnn.training.run_folder import absolute_sources, check_run, with_absolute_paths
from char_rnn.utils.config import Config, load_config
from char_rnn.utils.locking import acquire, release

SEED, TEXT = "training.seed", "data.data_dir"

Failure = Literal["diverged", "failed"]

FAILURES = (ValueError, RuntimeError, OSError, MemoryError)
"""What fails a run; anything else is a mistake in the program, and ends the sweep."""


@dataclass(frozen=True)
class Job:
    """A run of a sweep whose turn it is.

    Attributes:
        name: of its values; its folder's.
        folder: the run folder; it may be there already.
        config: what to train with.
        resumed: whether the run is to go on from its training state.
        number, total: which it is of how many, from 1.
    """

    name: str
    folder: Path
    config: Config
    resumed: bool
    number: int
    total: int


@dataclass(frozen=True)
class SweepRun:
    """What has become of a run.

    Attributes:
        name: of its values; its folder's.
        values: the grid's, by key.
        summary: what is in its folder; None without one.
        failure: diverged (its loss exploded), failed (of anything else), or None.
        problem: why, in one line.
    """

    name: str
    values: Mapping[str, Any]
    summary: RunSummary | None
    failure: Failure | None = None
    problem: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.failure is None and self.summary is not None and self.summary.state == "finished"

    @property
    def best_loss(self) -> float | None:
        """The lowest validation loss in nats per unit; None where nothing was validated."""
        return self.summary.best_loss if self.summary is not None else None


@dataclass(frozen=True)
class SweepSetting:
    """The runs that differ in nothing but their seed.

    Attributes:
        values: of the grid's other keys.
        losses: the lowest validation loss of each that is finished, in nats per unit.
    """

    values: Mapping[str, Any]
    losses: Sequence[float]

    @property
    def mean(self) -> float | None:
        """Of the losses; None where there is none."""
        return statistics.fmean(self.losses) if self.losses else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the losses (of a sample: n - 1); None of less than two."""
        return statistics.stdev(self.losses) if len(self.losses) > 1 else None


@dataclass(frozen=True)
class SweepResult:
    """What has become of a sweep.

    Attributes:
        folder: where its runs are.
        grid: the values of each key.
        runs: those that are finished by their best validation loss, the lowest first; then the others.
        stopped: whether it was asked to stop before its end.
    """

    folder: Path
    grid: Mapping[str, Sequence[Any]]
    runs: Sequence[SweepRun]
    stopped: bool

    def settings(self) -> list[SweepSetting]:
        """Return the runs of each setting over its seeds, the lowest mean first; none where the seed is no key."""
        if SEED not in self.grid:
            return []
        losses: dict[str, tuple[dict[str, Any], list[float]]] = {}
        for run in self.runs:
            values = {key: value for key, value in run.values.items() if key != SEED}
            found = losses.setdefault(repr(values), (values, []))[1]
            if run.finished and run.best_loss is not None:
                found.append(run.best_loss)
        settings = [SweepSetting(*parts) for parts in losses.values()]
        return sorted(settings, key=lambda setting: math.inf if setting.mean is None else setting.mean)


def train_job(job: Job) -> TrainingResult:
    """Train a run of a sweep on the CPU, telling nobody."""
    run = resume_run(job.config, job.folder) if job.resumed else start_run(job.config, job.folder)
    return run.train()


def sweep(
    config: Config,
    grid: Grid,
    folder: str | Path | None = None,
    *,
    train: Callable[[Job], TrainingResult] = train_job,
    stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Train a run for every combination of a grid.

    Called again with the same arguments it leaves the runs that are finished, goes on with one that was cut off, and
    starts the others; one that failed is tried again from its last checkpoint.

    Args:
        config: the configuration of all; the grid's values take the places of its own.
        grid: the values of each key, as in ``{"training.learning_rate": [1e-3, 2e-3], "training.seed": [1, 2, 3]}``.
        folder: the sweep's folder. When not given, the one in ``logging.checkpoint_dir`` that holds this sweep, or a
            new one named after the text.
        train: trains a run to its end, or stops it where it was asked to; one of ``FAILURES`` fails that run alone.
        stop: asked before each run; the sweep ends there when it says so.

    Raises:
        ConfigError: a combination cannot be used; nothing was made.
        ValueError: the text is not there, or the folder is another's; nothing was made.
        FolderInUseError: another process is at work in the folder.
        OSError: the folder cannot be written.
    """
    found = points(_of_a_sweep(config), _of_any_folder(grid))
    text, values = _text_name(found), _values(found)
    folder = Path(folder) if folder is not None else default_folder(found[0].config, values, text)
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)  # another process may begin the same sweep
    if folder.is_dir():
        acquire(folder)
    try:
        claim(folder, found[0].config, values)
        failures, stopped = _train_all(found, folder, train, stop)
    finally:
        release(folder)
    runs = [_outcome(point, folder, failures.get(point.name)) for point in found]
    return SweepResult(folder, values, sorted(runs, key=_rank), stopped)


def _train_all(
    found: Sequence[Point], folder: Path, train: Callable[[Job], TrainingResult], stop: Callable[[], bool]
) -> tuple[dict[str, tuple[Failure, str]], bool]:
    """Bring every run to its end; return which failed, and whether the sweep was stopped."""
    failures: dict[str, tuple[Failure, str]] = {}
    stopped = False
    for number, point in enumerate(found, 1):
        stopped = stop()
        if stopped:
            break
        try:
            stopped = _train(point, folder, number, len(found), train)
        except FAILURES as error:
            failures[point.name] = _failure(error)
        gc.collect()  # a trainer is part of a cycle: its memory, a GPU's too, is free only now
        if stopped:
            break
    return failures, stopped


def _of_a_sweep(config: Config) -> Config:
    """Return what does not depend on the present folder; TensorBoard's events stay in the run folders."""
    config = with_absolute_paths(config)
    return config.model_copy(update={"logging": config.logging.model_copy(update={"log_dir": None})})


def _of_any_folder(grid: Grid) -> Grid:
    sources = [absolute_sources(each) if isinstance(each, (str, list)) else each for each in grid.get(TEXT, ())]
    return {**grid, TEXT: sources} if TEXT in grid else grid


def _text_name(found: Sequence[Point]) -> str:
    """Return the name of the first run's text.

    Raises:
        ValueError: one is not there, or can be read only once.
    """
    texts = dict.fromkeys((tuple(point.config.data.sources), point.config.data.encoding) for point in found)
    for source in chain.from_iterable(sources for sources, _ in texts):
        if is_stream(source):
            raise ValueError(f"{source}: a sweep reads its text for every run; write it to a file first")
    names = [joined([find_source(each, encoding) for each in sources]).name for sources, encoding in texts]
    return names[0]


def _values(found: Sequence[Point]) -> dict[str, list[Any]]:
    """Return the values of each key of a grid, as JSON has them."""
    return {
        key: list({repr(point.values[key]): point.values[key] for point in found}.values()) for key in found[0].values
    }


def _train(point: Point, folder: Path, number: int, total: int, train: Callable[[Job], TrainingResult]) -> bool:
    """Bring a run to its end, if it is not there; return whether it was stopped before."""
    path = folder / point.name
    if path.exists() and summarize(path).state == "finished":
        return False
    resumed = (path / STATE).exists()
    config = _resumed(path, point.config) if resumed else point.config
    return train(Job(point.name, path, config, resumed, number, total)).stopped


def _resumed(folder: Path, config: Config) -> Config:
    """Return the run's own configuration, what was fitted when it started included, on the present device."""
    return load_config(check_run(folder)).model_copy(update={"device": config.device})


def _failure(error: Exception) -> tuple[Failure, str]:
    problem = " ".join(str(error).split()) or type(error).__name__
    return "diverged" if isinstance(error, TrainingDiverged) else "failed", problem


def _outcome(point: Point, folder: Path, failure: tuple[Failure, str] | None) -> SweepRun:
    path = folder / point.name
    return SweepRun(point.name, point.values, summarize(path) if path.exists() else None, *(failure or ()))


def _rank(run: SweepRun) -> tuple[bool, float]:
    return not run.finished, run.best_loss if run.finished and run.best_loss is not None else math.inf
