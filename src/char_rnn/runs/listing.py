"""Finds run folders and tells what is in each: headers and a few lines are read, never the weights; without torch.

A run folder holds a model or a training state, or a ``config.yaml`` with measurements beside it or that is one of
char-rnn. What cannot be read is told in the summary, and does not keep the rest of it from being read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from char_rnn.model_file import BEST, LAST, ModelFileError, ModelHeader, read_shapes
from char_rnn.runs import CONFIG, METRICS, STATE, TENSORBOARD
from char_rnn.runs.history import last_record, number
from char_rnn.utils.config import ConfigError, load_config
from char_rnn.utils.locking import holder

if TYPE_CHECKING:
    from char_rnn.utils.config import Config

PLACES = ("runs", "checkpoints")
DEPTH = 3

State = Literal["finished", "unfinished", "begun", "damaged"]
Content = TypeVar("Content")


@dataclass(frozen=True)
class RunSummary:
    """A run at a glance; None stands for what the folder does not tell.

    Attributes:
        folder: the run folder.
        state: finished; unfinished, whether it is at work or stopped; begun, with nothing saved yet; or damaged.
        problem: what is wrong with a damaged one, in one line.
        model: cell, layers and units, as in "lstm 2x128".
        parameters: numbers that the model is made of.
        data: the name of the text.
        unit: what the model predicts, character or byte.
        steps, total_steps: optimizer steps done, and where the run ends as far as is known.
        epochs: passes over the training split done.
        best_loss, best_step: the lowest validation loss, in nats per unit, and after how many steps it was reached.
        seconds: time spent, evaluations included.
        size: bytes on the disk.
        changed: when the folder's files were last written, in seconds since 1970.
        running: whether a process is at work in the folder.
    """

    folder: Path
    state: State
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
    running: bool = False

    @property
    def best_bits(self) -> float | None:
        """The lowest validation loss in bits per unit."""
        return None if self.best_loss is None else self.best_loss / math.log(2)

    @property
    def minutes(self) -> float | None:
        """The time spent, in minutes."""
        return None if self.seconds is None else self.seconds / 60


def find_runs(folders: Iterable[str | Path] = (), depth: int = DEPTH) -> list[Path]:
    """Return the run folders among and below some folders, each once, in the order of their names.

    Args:
        folders: where to look. Without any: ``runs`` and ``checkpoints`` of the present folder, the present folder
            itself, and the folders directly in it.
        depth: how many folders deep to look below each. Hidden folders are left out.

    Raises:
        FileNotFoundError: one that is given is not there, or is no folder.
        PermissionError: one that is given may not be read.
    """
    given = [Path(folder) for folder in folders]
    for folder in given:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: {'is a file, not a' if folder.exists() else 'no such'} folder")
        os.scandir(folder).close()
    places = [(folder, depth) for folder in given] or [(Path(), 1), *((Path(name), depth) for name in PLACES)]
    seen: set[Path] = set()
    return sorted(folder for place, reach in places for folder in _below(place, reach, seen))


def _below(folder: Path, depth: int, seen: set[Path]) -> Iterator[Path]:
    """Yield the run folders at and below ``folder`` that are not in ``seen``; a link counts less than a folder."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
        inside = [folder / entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        found = _is_run(folder, {entry.name for entry in entries}) and folder.resolve() not in seen
    except OSError:  # not there, or not ours to read
        return
    if found:
        seen.add(folder.resolve())
        yield folder
    for child in inside if depth else ():
        yield from _below(child, depth - 1, seen)


def _is_run(folder: Path, names: set[str]) -> bool:
    if not names.isdisjoint({BEST, LAST, STATE}):
        return True
    if CONFIG not in names:
        return False
    return METRICS in names or _read([], folder, CONFIG, load_config) is not None


def summarize(folder: str | Path) -> RunSummary:
    """Tell what a run folder holds; whatever is wrong with it is in ``problem``, nothing is raised."""
    folder, problems = Path(folder), list[str]()
    config = _read(problems, folder, CONFIG, load_config)
    if config is None and not problems:
        problems.append(f"no {CONFIG}")
    last, best = (_read(problems, folder, name, ModelHeader.read) for name in (LAST, BEST))
    counters = _read(problems, folder, STATE, _counters) or {}
    record = _read(problems, folder, METRICS, lambda path: last_record(path.parent)) or {}
    saved = last or best
    facts = saved.training if saved is not None else {}
    described = saved.config if saved is not None else config
    position = max((facts, record), key=lambda source: _whole(source.get("step")) or 0)
    total = _total_steps(config, position, counters) if config is not None else None
    state: State = "begun" if saved is None else "unfinished"
    at_its_end = total is not None and (_whole(facts.get("step")) or 0) >= total
    if at_its_end or (config is not None and _out_of_patience(config, counters)):
        state = "finished"
    size, changed = _on_disk(folder)
    return RunSummary(
        folder=folder,
        state="damaged" if problems else state,
        problem="; ".join(problems) or None,
        model=_architecture(described),
        parameters=saved.parameters if saved is not None else None,
        data=_text_name(facts, described),
        unit="byte" if described is not None and described.data.vocabulary == "bytes" else "character",
        steps=_whole(position.get("step")) or 0,
        total_steps=total,
        epochs=_finite(position.get("epoch")),
        best_loss=_finite(facts.get("best_val_loss")),
        best_step=_whole(facts.get("best_step")),
        seconds=_finite(position.get("seconds")),
        size=size,
        changed=changed,
        running=holder(folder) is not None,
    )


def _read(problems: list[str], folder: Path, name: str, read: Callable[[Path], Content]) -> Content | None:
    """Read a file of a run folder, if it is there; what is wrong with it goes to ``problems``."""
    path = folder / name
    try:
        return read(path) if path.exists() else None
    except (ModelFileError, ConfigError) as error:
        problems.append(str(error).removeprefix(f"{folder}{os.sep}"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        problems.append(f"{name}: {reason or 'not to be read'}")
    return None


def _counters(path: Path) -> dict[str, Any]:
    """Return the counters of a training state."""
    counters = json.loads(read_shapes(path)[1].get("counters", ""))
    if not isinstance(counters, dict):
        raise ModelFileError(f"{path}: its counters are damaged (no table)")
    return counters


def _total_steps(config: Config, position: Mapping[str, Any], counters: Mapping[str, Any]) -> int | None:
    """Return the step at which the first of the limits is reached, as far as they are known."""
    training = config.training
    if training.minutes is not None:
        end = _fitted_end(counters)
        if end is None:
            return None
    else:
        end = training.horizons[-1][1] if training.horizons else None
    per_epoch = _steps_per_epoch(position)
    epochs = None if per_epoch is None else training.max_epochs * per_epoch
    return min((limit for limit in (training.max_steps, epochs, end) if limit is not None), default=None)


def _steps_per_epoch(position: Mapping[str, Any]) -> int | None:
    step, epoch = number(position.get("step")), number(position.get("epoch"))
    return round(step / epoch) if 0 < epoch <= step else None


def _out_of_patience(config: Config, counters: Mapping[str, Any]) -> bool:
    """Tell whether so many evaluations in a row brought no new best that the run has ended before its last step."""
    plan, patience = counters.get("plan"), config.training.patience
    return isinstance(plan, dict) and patience is not None and (_whole(plan.get("stale")) or 0) >= patience


def _fitted_end(counters: Mapping[str, Any]) -> int | None:
    """Return the step that a run of so many minutes was last thought to come to."""
    try:
        return _whole(counters["plan"]["horizons"][-1][1])
    except (KeyError, IndexError, TypeError):
        return None


def _architecture(config: Config | None) -> str | None:
    return None if config is None else f"{config.model.type} {config.model.num_layers}x{config.model.hidden_size}"


def _text_name(facts: Mapping[str, Any], config: Config | None) -> str | None:
    if isinstance(facts.get("data"), str):
        return str(facts["data"])
    return None if config is None else Path(config.data.sources[0]).name or config.data.sources[0]


def _on_disk(folder: Path) -> tuple[int, float]:
    """Return the bytes of the files in a run folder and its ``tensorboard/``, and when one was last written."""
    stats = [*_stats(folder), *_stats(folder / TENSORBOARD)]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime for stat in stats), default=0.0)


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield what the system tells of each file in a folder; one that goes away meanwhile is left out."""
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
