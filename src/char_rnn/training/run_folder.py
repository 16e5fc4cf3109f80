"""The folder of a run.

It holds ``config.yaml``, ``metrics.jsonl``, ``best.safetensors``, ``last.safetensors``, the training state beside them,
and ``tensorboard/``.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from char_rnn.model_file import BEST, LAST
from char_rnn.runs.names import CONFIG, STATE
from char_rnn.training.checkpoints import CheckpointError, read_counters
from char_rnn.utils.config import Config, to_yaml
from char_rnn.utils.files import replacing
from char_rnn.utils.terminal import quoted


def check_run(folder: str | Path) -> Path:
    """Return the configuration file of a run folder.

    Raises:
        CheckpointError: it is not a run folder.
    """
    path = Path(folder) / CONFIG
    if not path.exists():
        raise CheckpointError(f"{folder}: nothing to resume here (no {CONFIG}); give the folder that `--out` named")
    return path


def check_folder_is_free(folder: str | Path | None) -> None:
    """Make sure that no run is written over; one that has learnt nothing yet may be.

    Raises:
        CheckpointError: the folder holds a model or a training state.
    """
    if folder is None or _only_begun(Path(folder)):
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
    """Make the run folder; without one given, the first free one named after the text."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
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
    return candidate


def write_config(folder: Path, config: Config) -> None:
    """Write the run's configuration, every key of it, in one step."""
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8", newline="\n")
