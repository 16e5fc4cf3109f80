"""A sweep: one run for every combination of a grid, in turn and in one folder; an interrupted sweep can continue."""

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
from char_rnn.sweep.grid import Grid, GridPoint, claim, default_folder, points
from char_rnn.training.evaluation import TrainingResult
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.run import resume_run, start_run
from char_rnn.training.run_folder import absolute_sources, check_run, with_absolute_paths
from char_rnn.training.tracker import check_tracker
from char_rnn.utils.config import Config, load_config
from char_rnn.utils.locking import holding
from char_rnn.utils.terminal import in_one_line

SEED, TEXT = "training.seed", "data.data_dir"

Failure = Literal["diverged", "failed"]

FAILURES = (ValueError, RuntimeError, OSError, MemoryError)
"""Errors that fail a run; any other is a bug, and ends the sweep."""


@dataclass(frozen=True)
class Job:
    """The run of a sweep to train next.

    Attributes:
        name: its values, which name its folder.
        folder: the run folder, which may exist.
        config: the configuration.
        resumed: whether to continue from the saved training state.
        number, total: position among the runs, from 1, and their number.
    """

    name: str
    folder: Path
    config: Config
    resumed: bool
    number: int
    total: int


@dataclass(frozen=True)
class SweepRun:
    """The state of a run.

    Attributes:
        name: its values, which name its folder.
        values: values of the grid's keys.
        summary: content of its folder; None without one.
        failure: diverged (its loss exploded), failed (any other error), or None.
        problem: the error in one line.
    """

    name: str
    values: Mapping[str, Any]
    summary: RunSummary | None
    failure: Failure | None = None
    problem: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it is complete."""
        return self.failure is None and self.summary is not None and self.summary.state == "finished"

    @property
    def best_loss(self) -> float | None:
        """The lowest validation loss in nats per symbol; None without a validation."""
        return self.summary.best_loss if self.summary is not None else None


@dataclass(frozen=True)
class SweepSetting:
    """The runs that differ in their seed only.

    Attributes:
        values: values of the grid's other keys.
        losses: the lowest validation loss of each finished run, in nats per symbol.
    """

    values: Mapping[str, Any]
    losses: Sequence[float]

    @property
    def mean(self) -> float | None:
        """Mean of the losses; None without any."""
        return statistics.fmean(self.losses) if self.losses else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the losses (n - 1); None of fewer than two."""
        return statistics.stdev(self.losses) if len(self.losses) > 1 else None


@dataclass(frozen=True)
class SweepResult:
    """The state of a sweep.

    Attributes:
        folder: folder of the runs.
        grid: values of each key.
        runs: the finished runs by best validation loss, the lowest first; then the others.
        stopped: whether it was asked to stop before its end.
    """

    folder: Path
    grid: Mapping[str, Sequence[Any]]
    runs: Sequence[SweepRun]
    stopped: bool

    def settings(self) -> list[SweepSetting]:
        """Return the settings with their losses over the seeds, the lowest mean first; none if no seed is swept."""
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
    """Train a run of a sweep on the CPU, without output."""
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

    A second call with the same arguments skips finished runs, continues an interrupted one, and starts the others. A
    failed run is tried again from its last checkpoint.

    Args:
        config: the configuration of all runs; the values of the grid replace its own.
        grid: the values of each key, as in ``{"training.learning_rate": [1e-3, 2e-3], "training.seed": [1, 2, 3]}``.
        folder: the sweep's folder. The default is the one in ``logging.checkpoint_dir`` that contains this sweep, or a
            new one named after the text.
        train: trains a run to its end, or until it is asked to stop; one of ``FAILURES`` fails only that run.
        stop: called before each run; a true result ends the sweep.

    Raises:
        ConfigError: A combination is invalid. No file is written.
        ValueError: The text does not exist, or the folder has other content. No file is written.
        TrackerMissingError: The package of a tracker is not installed. No file is written.
        FolderInUseError: Another process uses the folder.
        OSError: The folder cannot be written.
    """
    found = points(_portable(config), _portable_grid(grid))
    for point in found:
        check_tracker(point.config.logging)
    text = _text_name(found)
    values = {  # each value once, as JSON has it
        key: list({repr(point.values[key]): point.values[key] for point in found}.values()) for key in found[0].values
    }
    folder = Path(folder) if folder is not None else default_folder(found[0].config, values, text)
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)  # another process may start the same sweep
    with holding(folder if folder.is_dir() else None):
        claim(folder, found[0].config, values)
        stopped, failures = _train_all(found, folder, train, stop)
    summaries = {p.name: summarize(folder / p.name) if (folder / p.name).exists() else None for p in found}
    runs = [SweepRun(p.name, p.values, summaries[p.name], *failures.get(p.name, ())) for p in found]
    return SweepResult(folder, values, sorted(runs, key=_rank), stopped)


def _train_all(
    found: Sequence[GridPoint], folder: Path, train: Callable[[Job], TrainingResult], stop: Callable[[], bool]
) -> tuple[bool, dict[str, tuple[Failure, str]]]:
    """Train every run to its end unless it is finished; return whether the sweep was stopped, and the failures."""
    failures: dict[str, tuple[Failure, str]] = {}
    for number, point in enumerate(found, 1):
        if stop():
            return True, failures
        path, config = folder / point.name, point.config
        if path.exists() and summarize(path).state == "finished":
            continue
        try:
            if resumed := (path / STATE).exists():  # its own configuration has the values fitted when it started
                config = load_config(check_run(path)).model_copy(update={"device": config.device})
            if train(Job(point.name, path, config, resumed, number, len(found))).stopped:
                return True, failures
        except FAILURES as error:
            kind: Failure = "diverged" if isinstance(error, TrainingDiverged) else "failed"
            failures[point.name] = kind, in_one_line(error)
        finally:
            gc.collect()  # a trainer is part of a cycle: this frees its memory, also that of a GPU
    return False, failures


def _portable(config: Config) -> Config:
    """Return a configuration without relative paths, and with TensorBoard's events in the run folders."""
    return with_absolute_paths(config).changed(logging={"log_dir": None})


def _portable_grid(grid: Grid) -> Grid:
    sources = [absolute_sources(each) if isinstance(each, (str, list)) else each for each in grid.get(TEXT, ())]
    return {**grid, TEXT: sources} if TEXT in grid else grid


def _text_name(found: Sequence[GridPoint]) -> str:
    """Return the name of the first run's text.

    Raises:
        ValueError: A text does not exist, or can be read only once.
    """
    texts = dict.fromkeys((tuple(point.config.data.sources), point.config.data.encoding) for point in found)
    for source in chain.from_iterable(sources for sources, _ in texts):
        if is_stream(source):
            raise ValueError(f"{source}: a sweep reads its text for every run; write it to a file first")
    names = [joined([find_source(each, encoding) for each in sources]).name for sources, encoding in texts]
    return names[0]


def _rank(run: SweepRun) -> tuple[bool, float]:
    return not run.finished, run.best_loss if run.finished and run.best_loss is not None else math.inf
