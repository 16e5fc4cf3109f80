"""The run folder: checks, creation, and its ``config.yaml``.

It holds ``config.yaml``, ``metrics.jsonl``, ``samples.jsonl``, ``best.safetensors``, ``last.safetensors``, the training
state beside them, and ``tensorboard/``.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from char_rnn.data.datasets import NAMES
from char_rnn.data.sources import GIVEN_TEXT, STANDARD_INPUT
from char_rnn.runs import CONFIG, STATE
from char_rnn.training.checkpoints import CheckpointError, read_counters
from char_rnn.utils.config import Config, to_yaml
from char_rnn.utils.files import check_is_path, replacing
from char_rnn.utils.locking import acquire, check_is_free
from char_rnn.utils.model_files import BEST, LAST
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
    """Check that a new run would not overwrite another; one that has not trained yet may be overwritten.

    Raises:
        CheckpointError: the folder holds a model or a training state.
        FolderInUseError: another process is using it.
    """
    if folder is None:
        return
    path = check_is_path(folder)
    check_is_free(path)
    if not _is_untrained(path) and any((path / name).exists() for name in (STATE, BEST, LAST)):
        raise CheckpointError(
            f"{folder}: contains a run already; resume it (--resume {quoted(folder)}) or choose another --out"
        )


def _is_untrained(folder: Path) -> bool:
    """Whether a run was stopped before its first checkpoint after step 0."""
    if not (folder / CONFIG).exists() or (folder / BEST).exists():
        return False
    try:
        return not (folder / STATE).exists() or read_counters(folder / STATE).get("step") == 0
    except CheckpointError:
        return False


def new_folder(config: Config, folder: str | Path | None, name: str) -> Path:
    """Make and lock the run folder; None makes the first free one named after the text.

    Raises:
        FolderInUseError: another process is using it.
        OSError: it cannot be made.
    """
    if folder is not None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
    else:
        path = _first_free(Path(config.logging.checkpoint_dir), name)
    acquire(path)
    return path


def _first_free(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        break
    return path


def with_absolute_paths(config: Config) -> Config:
    """Return a configuration that works from any folder: absolute paths of the text, the teachers, ..."""
    cache, events = (
        str(Path(path).absolute()) if path is not None else None
        for path in (config.data.cache_dir, config.logging.log_dir)
    )
    teacher = config.training.teacher
    return config.changed(
        data={"data_dir": absolute_sources(config.data.data_dir), "cache_dir": cache},
        logging={"log_dir": events},
        training={"teacher": None if teacher is None else absolute_sources(teacher)},
    )


def absolute_sources(sources: str | list[str]) -> str | list[str]:
    """Return absolute paths of texts or models; names of data sets, ``-`` and missing files do not change."""
    if not isinstance(sources, str):
        return [str(absolute_sources(each)) for each in sources]
    is_name = sources in (*NAMES, STANDARD_INPUT, GIVEN_TEXT)
    is_path = not is_name and os.path.exists(sources)  # noqa: PTH110 (no error for any text)
    return str(Path(sources).absolute()) if is_path else sources


def write_config(folder: Path, config: Config) -> None:
    """Write every key of the run's configuration, in one step."""
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8", newline="\n")
