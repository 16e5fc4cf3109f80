"""The folder of a sweep: ``sweep.json``, which says what is swept, and a run folder a run.

``sweep.json`` holds the whole configuration of the grid's first run and the values of each key of the grid; the other
runs differ from the first in these values alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from char_rnn.sweep.grid import Grid, text_of
from char_rnn.utils.config import Config, ConfigError, Override, config_from_dict, read_setting
from char_rnn.utils.files import read_regular, replacing

FILE = "sweep.json"
FORMAT, VERSION = "char-rnn sweep", 1
MAX_BYTES = 16 << 20


class SweepError(ValueError):
    """A folder that cannot be this sweep's; the message says why and what to do."""


def read_sweep(folder: str | Path) -> tuple[Config, dict[str, list[Any]]]:
    """Read what is swept in a folder: the first run's configuration, and the grid.

    Raises:
        SweepError: it is no sweep's folder, or its file is damaged.
        ConfigError: its configuration, or a key of its grid, cannot be used.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise SweepError(f"{folder}: no sweep to go on with here (no {FILE}); give the folder that `--out` named")
    try:
        content = json.loads(read_regular(path, MAX_BYTES))
        found, version, grid = (content[name] for name in ("format", "version", "grid"))
        whole = all(isinstance(values, list) for values in grid.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SweepError(f"{path}: damaged, or no file of a sweep; begin it again elsewhere") from None
    if found != FORMAT or not whole:
        raise SweepError(f"{path}: not the file of a sweep; begin it again elsewhere")
    if not isinstance(version, int):
        raise SweepError(f"{path}: damaged (its version is no number); begin it again elsewhere")
    if version != VERSION:
        raise SweepError(f"{path}: written by a later char-rnn; update char-rnn to go on with it")
    for key in grid:
        read_setting(Override(f"{key}=null", f"{path}: grid"))
    return config_from_dict(content.get("config"), f"{path}: config"), grid


def claim(folder: Path, config: Config, grid: Grid) -> None:
    """Make the folder and write the sweep's file, in one step; one that holds this very sweep is taken as it is.

    Args:
        folder: the sweep's.
        config: the configuration of the first run.
        grid: the values of each key, as JSON has them.

    Raises:
        SweepError: it holds another sweep, or something else.
    """
    if _is_free(folder):
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "version": VERSION, "grid": grid, "config": config.model_dump(mode="json")}
        with replacing(folder / FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
    elif not (folder / FILE).is_file():
        raise SweepError(f"{folder}: holds something else than a sweep (no {FILE}); name another --out")
    elif difference := next(_differences(folder, config, grid), None):
        raise SweepError(f"{folder}: holds another sweep: {difference}; name another --out")


def default_folder(config: Config, grid: Grid, text: str) -> Path:
    """Return the folder of this very sweep in ``logging.checkpoint_dir``, or the first free one named after a text."""
    for number in count(1):
        folder = Path(config.logging.checkpoint_dir) / (f"{text}-sweep" + (f"-{number}" if number > 1 else ""))
        if _is_free(folder) or _holds(folder, config, grid):
            break
    return folder


def _is_free(folder: Path) -> bool:
    if not folder.exists():
        return True
    return folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())


def _holds(folder: Path, config: Config, grid: Grid) -> bool:
    try:
        return next(_differences(folder, config, grid), None) is None
    except (SweepError, ConfigError):
        return False


def _differences(folder: Path, config: Config, grid: Grid) -> Iterator[str]:
    """Yield in words what is swept there and not here, but for the device, which may be another each time."""
    there, its_grid = read_sweep(folder)
    if list(its_grid.items()) != list(grid.items()):
        yield f"its grid is {_grid_in_words(its_grid)}, not {_grid_in_words(grid)}"
    here = config.model_dump(mode="json")
    for section, values in there.model_dump(mode="json").items():
        for key, value in values.items():
            if section != "device" and value != here[section][key]:
                yield f"its {section}.{key} is {text_of(value)}, not {text_of(here[section][key])}"


def _grid_in_words(grid: Grid) -> str:
    return " ".join(f"{key}={','.join(map(text_of, values))}" for key, values in grid.items())
