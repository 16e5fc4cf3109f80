"""Finds run folders and summarizes them, from headers and a few lines: the weights are not read.

A run folder has a model or a training state, or a ``config.yaml`` with measurements beside it or that is one of
char-rnn's. An unreadable file is reported in the summary, and the rest of the folder is still read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from char_rnn.model_file import ModelHeader
from char_rnn.runs import CONFIG, METRICS, STATE, TENSORBOARD
from char_rnn.runs.history import last_record, number
from char_rnn.utils.config import ConfigError, load_config
from char_rnn.utils.locking import holder
from char_rnn.utils.model_files import BEST, LAST, ModelFileError, read_shapes

if TYPE_CHECKING:
    from char_rnn.utils.config import Config

FOLDERS = ("runs", "checkpoints")
DEPTH = 3

RunState = Literal["finished", "unfinished", "begun", "damaged"]
Content = TypeVar("Content")

# A list describes models, it does not build them: a cell that another program defines is as good as any.
_config_of = partial(load_config, any_cell=True)
_header_of = partial(ModelHeader.read, any_cell=True)


@dataclass(frozen=True)
class RunSummary:
    """A summary of a run; None stands for unknown.

    Attributes:
        folder: Run folder.
        state: finished; unfinished (running or stopped); begun (no model saved yet); or damaged.
        problem: What is damaged, in one line.
        model: Cell, layers and units, as in "lstm 2x128".
        parameters: Number of parameters.
        data: Name of the text.
        unit: Unit of prediction, character or byte.
        steps, total_steps: Optimizer steps done, and the last step of the run if known.
        epochs: Passes over the training split done.
        best_loss, best_step: Lowest validation loss, in nats per unit, and its step.
        seconds: Time spent, including evaluations.
        size: Bytes on the disk.
        changed: Last change of the folder's files, in seconds since 1970.
        eval_characters: Characters in an evaluation, if not all of the split.
        running: Whether a process is training in the folder.
    """

    folder: Path
    state: RunState
    problem: str | None
    model: str | None
    parameters: int | None
    data: str | None
    unit: str
    steps: int
    total_steps: int | None
    epochs: float | None
    best_loss: float | None
    best_step: int | None
    seconds: float | None
    size: int
    changed: float
    eval_characters: int | None = None
    running: bool = False

    @property
    def best_bits(self) -> float | None:
        """Lowest validation loss in bits per unit."""
        return None if self.best_loss is None else self.best_loss / math.log(2)

    @property
    def minutes(self) -> float | None:
        """Time spent, in minutes."""
        return None if self.seconds is None else self.seconds / 60


def find_runs(folders: Iterable[str | Path] = ()) -> list[Path]:
    """Return the run folders among and below some folders, each once, sorted by name; hidden ones are skipped.

    Args:
        folders: Folders to search, each with `DEPTH` levels of folders below it. Default: ``runs`` and ``checkpoints``
            of the current folder, the current folder itself, and the folders directly in it.

    Raises:
        FileNotFoundError: A given folder does not exist, or is not a folder.
        PermissionError: A given folder is not readable.
    """
    given = [Path(folder) for folder in folders]
    for folder in given:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: {'is a file, not a' if folder.exists() else 'no such'} folder")
        os.scandir(folder).close()
    searched = [(folder, DEPTH) for folder in given] or [(Path(), 1), *((Path(name), DEPTH) for name in FOLDERS)]
    seen: set[Path] = set()
    return sorted(run for folder, reach in searched for run in _below(folder, reach, seen))


def _below(folder: Path, depth: int, seen: set[Path]) -> Iterator[Path]:
    """Yield the run folders at and below ``folder`` that are not in ``seen``; folders come before links to them."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
        inside = [folder / entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        found = _is_run(folder, {entry.name for entry in entries}) and folder.resolve() not in seen
    except OSError:  # missing or not readable
        return
    if found:
        seen.add(folder.resolve())
        yield folder
    for child in inside if depth else ():
        yield from _below(child, depth - 1, seen)


def _is_run(folder: Path, names: set[str]) -> bool:
    if not names.isdisjoint({BEST, LAST, STATE}):
        return True
    return CONFIG in names and (METRICS in names or _read([], folder, CONFIG, _config_of) is not None)


def summarize(folder: str | Path) -> RunSummary:
    """Summarize a run folder; what is wrong with it is in ``problem``, and no error is raised."""
    folder, problems = Path(folder), list[str]()
    config = _read(problems, folder, CONFIG, _config_of)
    if config is None and not problems:
        problems.append(f"no {CONFIG}")
    last, best = (_read(problems, folder, name, _header_of) for name in (LAST, BEST))
    counters = _read(problems, folder, STATE, _counters) or {}
    record = _read(problems, folder, METRICS, last_record) or {}
    saved = last or best
    metadata = saved.training if saved is not None else {}
    described = saved.config if saved is not None else config
    model = described.model if described is not None else None
    position = max((metadata, record), key=lambda source: _whole(source.get("step")) or 0)
    total = _total_steps(config, position, counters) if config is not None else None
    state: RunState = "begun" if saved is None else "unfinished"
    complete = total is not None and (_whole(metadata.get("step")) or 0) >= total
    if complete or (config is not None and _out_of_patience(config, counters)):
        state = "finished"
    size, changed = _on_disk(folder)
    return RunSummary(
        folder=folder,
        state="damaged" if problems else state,
        problem="; ".join(problems) or None,
        model=f"{model.type} {model.num_layers}x{model.hidden_size}" if model is not None else None,
        parameters=saved.parameters if saved is not None else None,
        data=_text_name(metadata, described),
        unit="byte" if described is not None and described.data.vocabulary == "bytes" else "character",
        steps=_whole(position.get("step")) or 0,
        total_steps=total,
        epochs=_finite(position.get("epoch")),
        best_loss=_finite(metadata.get("best_val_loss")),
        best_step=_whole(metadata.get("best_step")),
        seconds=_finite(position.get("seconds")),
        size=size,
        changed=changed,
        eval_characters=_eval_characters(described, counters),
        running=holder(folder) is not None,
    )


def _read(problems: list[str], folder: Path, name: str, read: Callable[[Path], Content]) -> Content | None:
    """Read a file of a run folder if it exists; add what is wrong with it to ``problems``."""
    path = folder / name
    try:
        return read(path) if path.exists() else None
    except (ModelFileError, ConfigError) as error:
        problems.append(str(error).removeprefix(f"{folder}{os.sep}"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        problems.append(f"{name}: {reason or 'not readable'}")
    return None


def _counters(path: Path) -> dict[str, Any]:
    """Return the counters of a training state."""
    counters = json.loads(read_shapes(path)[1].get("counters", ""))
    if not isinstance(counters, dict):
        raise ModelFileError(f"{path}: its counters are damaged (not a table)")
    return counters


def _total_steps(config: Config, position: Mapping[str, Any], counters: Mapping[str, Any]) -> int | None:
    """Return the step at which the first of the known limits is reached."""
    training = config.training
    end = training.horizons[-1][1] if training.horizons else None
    if training.minutes is not None:  # the last estimate of a timed run
        try:
            end = _whole(counters["plan"]["horizons"][-1][1])
        except (KeyError, IndexError, TypeError):
            return None
        if end is None:
            return None
    step, epoch = number(position.get("step")), number(position.get("epoch"))
    epochs = training.max_epochs * round(step / epoch) if 0 < epoch <= step else None
    return min((limit for limit in (training.max_steps, epochs, end) if limit is not None), default=None)


def _eval_characters(config: Config | None, counters: Mapping[str, Any]) -> int | None:
    """Return how many characters an evaluation predicts: as measured in a timed run, or as configured."""
    plan = counters.get("plan")
    measured = _whole(plan.get("eval_characters")) if isinstance(plan, dict) else None
    return measured or (config.training.eval_characters if config is not None else None)


def _out_of_patience(config: Config, counters: Mapping[str, Any]) -> bool:
    """Return whether so many evaluations in a row had no new best that the run has ended before its last step."""
    plan, patience = counters.get("plan"), config.training.patience
    return isinstance(plan, dict) and patience is not None and (_whole(plan.get("stale")) or 0) >= patience


def _text_name(metadata: Mapping[str, Any], config: Config | None) -> str | None:
    if isinstance(metadata.get("data"), str):
        return str(metadata["data"])
    return None if config is None else Path(config.data.sources[0]).name or config.data.sources[0]


def _on_disk(folder: Path) -> tuple[int, float]:
    """Return the bytes of the files in a run folder and its ``tensorboard/``, and their last change."""
    stats = [*_stats(folder), *_stats(folder / TENSORBOARD)]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime for stat in stats), default=0.0)


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield the status of each file in a folder; skip one that disappears meanwhile."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    yield entry.stat(follow_symlinks=False)


def _finite(value: object) -> float | None:
    return found if math.isfinite(found := number(value)) else None


def _whole(value: object) -> int | None:
    found = _finite(value)
    return None if found is None else int(found)
