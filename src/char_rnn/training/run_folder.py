"""The folder of a run.

It holds ``config.yaml``, ``metrics.jsonl``, ``best.safetensors``, ``last.safetensors``, the training state beside them,
and ``tensorboard/``.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from char_rnn.data.datasets import NAMES
from char_rnn.data.sources import STANDARD_INPUT
from char_rnn.model_file import BEST, LAST
from char_rnn.runs import CONFIG, STATE
from char_rnn.training.checkpoints import CheckpointError, read_counters
from char_rnn.utils.config import Config, to_yaml
from char_rnn.utils.files import check_is_path, replacing
from char_rnn.utils.locking import acquire, check_is_free
from char_rnn.utils.terminal import quoted


def check_run(folder: str | Path) -> Path:
    """Return the configuration file of a run folder.

    Raises:
        CheckpointError: it is not a run folder.
    """
    path = check_is_path(folder) / CONFIG
    if not path.exists():
        raise CheckpointError(f"{folder}: nothing to resume here (no {CONFIG}); give the folder that `--out` named")
    return path


def check_folder_is_free(folder: str | Path | None) -> None:
    """Make sure that no run is written over; one that has learnt nothing yet may be.

    Raises:
        CheckpointError: the folder holds a model or a training state.
        FolderInUseError: another process is at work in it.
    """
    if folder is None:
        return
    check_is_free(check_is_path(folder))
    if _only_begun(Path(folder)):
        return
    if any((Path(folder) / name).exists() for name in (STATE, BEST, LAST)):
        raise CheckpointError(
            f"{folder}: holds a run already; go on with it (--resume {quoted(folder)}) or name another --out"
        )


def _only_begun(folder: Path) -> bool:
    """Tell whether a run was stopped before its first checkpoint but that of the beginning."""
    if not (folder / CONFIG).exists() or (folder / BEST).exists():
        return False
    try:
        return not (folder / STATE).exists() or read_counters(folder / STATE).get("step") == 0
    except CheckpointError:
        return False


def new_folder(config: Config, folder: str | Path | None, name: str) -> Path:
    """Make the run folder, and lock it; without one given, the first free one named after the text.

    Raises:
        FolderInUseError: another process is at work in it.
        OSError: it cannot be made.
    """
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        acquire(Path(folder))
        return Path(folder)
    parent = Path(config.logging.checkpoint_dir)
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        candidate = parent / (name if number == 1 else f"{name}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        break
    acquire(candidate)
    return candidate


def with_absolute_paths(config: Config) -> Config:
    """Let a run be resumed from another folder; data sets and `-` are no paths."""
    data, logging = config.data, config.logging
    paths = {"data_dir": absolute_sources(data.data_dir), "cache_dir": _absolute(data.cache_dir)}
    folders = {"log_dir": _absolute(logging.log_dir)}
    return config.model_copy(
        update={"data": data.model_copy(update=paths), "logging": logging.model_copy(update=folders)}
    )


def absolute_sources(sources: str | list[str]) -> str | list[str]:
    """Return a text's path, or several, for any folder; names of data sets, ``-`` and what is not there as they are."""
    if not isinstance(sources, str):
        return [str(absolute_sources(each)) for each in sources]
    is_path = sources not in (*NAMES, STANDARD_INPUT) and os.path.exists(sources)  # noqa: PTH110 (no error for any text)
    return str(Path(sources).absolute()) if is_path else sources


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path is not None else None


def write_config(folder: Path, config: Config) -> None:
    """Write the run's configuration, every key of it, in one step."""
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8", newline="\n")
