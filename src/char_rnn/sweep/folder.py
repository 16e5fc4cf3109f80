"""The folder of a sweep: the file ``sweep.json``, and a run folder for each run.

``sweep.json`` contains the configuration of the first run and the values of each key of the grid. The other runs differ
from the first in these values only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from char_rnn.sweep.grid import Grid, value_text
from char_rnn.utils.config import Config, ConfigError, Override, config_from_dict, read_setting
from char_rnn.utils.files import read_regular, replacing

FILE = "sweep.json"
FORMAT, VERSION = "char-rnn sweep", 1
MAX_BYTES = 16 << 20


class SweepError(ValueError):
    """A folder that cannot be used for this sweep; the message has the reason and what to do."""


def read_sweep(folder: str | Path) -> tuple[Config, dict[str, list[Any]]]:
    """Return the configuration of a sweep's first run, and its grid.

    Raises:
        SweepError: The folder is not that of a sweep, or its file is damaged.
        ConfigError: Its configuration, or a key of its grid, is invalid.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise SweepError(f"{folder}: no sweep to continue (no {FILE}); give the folder that `--out` named")
    try:
        content = json.loads(read_regular(path, MAX_BYTES))
        found, version, grid = (content[name] for name in ("format", "version", "grid"))
        whole = all(isinstance(values, list) for values in grid.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SweepError(f"{path}: damaged, or not the file of a sweep; start it again in another folder") from None
    if found != FORMAT or not whole:
        raise SweepError(f"{path}: not the file of a sweep; start it again in another folder")
    if not isinstance(version, int):
        raise SweepError(f"{path}: damaged (its version is not a number); start it again in another folder")
    if version != VERSION:
        raise SweepError(f"{path}: written by a later char-rnn; update char-rnn to continue it")
    for key in grid:
        read_setting(Override(f"{key}=null", f"{path}: grid"))
    return config_from_dict(content.get("config"), f"{path}: config"), grid


def claim(folder: Path, config: Config, grid: Grid) -> None:
    """Create the folder and the sweep's file in one step, unless it contains the same sweep already.

    Args:
        folder: folder of the sweep.
        config: configuration of the first run.
        grid: values of each key, as JSON has them.

    Raises:
        SweepError: The folder has other content.
    """
    if _is_free(folder):
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "version": VERSION, "grid": grid, "config": config.model_dump(mode="json")}
        with replacing(folder / FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
    elif not (folder / FILE).is_file():
        raise SweepError(f"{folder}: contains something other than a sweep (no {FILE}); give another --out")
    elif difference := next(_differences(folder, config, grid), None):
        raise SweepError(f"{folder}: contains another sweep: {difference}; give another --out")


def default_folder(config: Config, grid: Grid, text: str) -> Path:
    """Return the folder of the same sweep in ``logging.checkpoint_dir``, or a free one named after the text."""
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
    """Yield the differences to the sweep in a folder in words; another device is not a difference."""
    there, its_grid = read_sweep(folder)
    if list(its_grid.items()) != list(grid.items()):
        yield f"its grid is {_grid_in_words(its_grid)}, not {_grid_in_words(grid)}"
    here = config.model_dump(mode="json")
    for section, values in there.model_dump(mode="json").items():
        for key, value in values.items():
            if section != "device" and value != here[section][key]:
                yield f"its {section}.{key} is {value_text(value)}, not {value_text(here[section][key])}"


def _grid_in_words(grid: Grid) -> str:
    return " ".join(f"{key}={','.join(map(value_text, values))}" for key, values in grid.items())
