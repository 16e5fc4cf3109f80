"""The plan of a sweep: every combination of a grid of values, each with a name of its own, and its file.

The file ``sweep.json`` in the folder of a sweep contains the configuration of the first run and the values of each key
of the grid. The other runs differ from the first in these values only.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Any

from char_rnn.runs import SWEEP
from char_rnn.utils.config import Config, ConfigError, Override, config_from_dict, read_setting, with_settings
from char_rnn.utils.config.fields import shown
from char_rnn.utils.files import read_regular, replacing

Grid = Mapping[str, Sequence[Any]]
"""The values of each key, ``section.key``."""

FORMAT, VERSION = "char-rnn sweep", 1
MAX_BYTES = 16 << 20
MOST_RUNS = 1000
_LONGEST_VALUE, _LONGEST_NAME = 40, 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")  # characters with a meaning in some file system or shell


@dataclass(frozen=True)
class GridPoint:
    """A combination of a grid.

    Attributes:
        name: its values, such as ``learning_rate=0.002,seed=1``; valid as the name of a folder on any system, and
            unique without regard to case.
        values: values by key, as JSON has them.
        config: the complete configuration.
    """

    name: str
    values: Mapping[str, Any]
    config: Config


def points(config: Config, grid: Grid) -> list[GridPoint]:
    """Return every combination of the grid's values over a configuration; the last key's value changes first.

    Raises:
        ConfigError: A combination is invalid or given twice, or there is none.
    """
    _check_size(grid)
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    configs = [with_settings(config, values, f"grid, {values_text(values)}") for values in combinations]
    found = [_values(config, grid) for config in configs]
    return [GridPoint(*parts) for parts in zip(_names(found), found, configs, strict=True)]


def values_text(values: Mapping[str, Any]) -> str:
    """Return values in one line, as in ``model.type=gru training.seed=1``."""
    return " ".join(f"{key}={value_text(value)}" for key, value in values.items())


def value_text(value: Any) -> str:
    """Return a value in YAML's words; a text is unchanged."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    return value if isinstance(value, str) else shown(value)


def labels(keys: Iterable[str]) -> dict[str, str]:
    """Return a short name of each key: without its section unless two names would be the same."""
    short = {key: key.rpartition(".")[2] for key in keys}
    times = Counter(short.values())
    return {key: name if times[name] == 1 else key for key, name in short.items()}


def _check_size(grid: Grid) -> None:
    if not grid:
        raise ConfigError("the grid is empty: give one or more keys with their values")
    for key, values in grid.items():
        if isinstance(values, str) or not values:
            raise ConfigError(f"grid of {key}: must be a list of one or more values; given {shown(values)}")
    size = math.prod(map(len, grid.values()))
    if size > MOST_RUNS:
        raise ConfigError(f"the grid has {size:,} runs, more than {MOST_RUNS:,}; leave some values out")


def _values(config: Config, keys: Iterable[str]) -> dict[str, Any]:
    """Return the values of keys in a checked configuration, where ``1e-3`` and ``0.001`` are the same."""
    whole = config.model_dump(mode="json")
    return {key: whole[key.partition(".")[0]][key.partition(".")[2]] for key in keys}


def _names(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name of each combination.

    Raises:
        ConfigError: Two are the same.
    """
    label = labels(found[0])
    texts = [{key: value_text(value) for key, value in values.items()} for values in found]
    slugs = {key: _slugs(dict.fromkeys(each[key] for each in texts)) for key in label}
    names = [",".join(f"{label[key]}={slugs[key][text]}" for key, text in each.items()) for each in texts]
    twice = next((place for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ConfigError(f"the grid has {values_text(found[twice])} twice; give each value once")
    return [
        name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 6]}~{number}"
        for number, name in enumerate(names, 1)
    ]


def _slugs(texts: Iterable[str]) -> dict[str, str]:
    """Return each text in characters that are safe everywhere, numbered if two would differ in case only."""
    slugs: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        name = Path(text).name if Path(text).is_absolute() else text
        base = slug = _UNSAFE.sub("-", name.strip("[]"))[:_LONGEST_VALUE].rstrip(".")
        number = 1
        while slug.lower() in taken:
            number += 1
            slug = f"{base}~{number}"
        taken.add(slug.lower())
        slugs[text] = slug
    return slugs


class SweepError(ValueError):
    """A folder that cannot be used for this sweep; the message has the reason and what to do."""


def read_sweep(folder: str | Path) -> tuple[Config, dict[str, list[Any]]]:
    """Return the configuration of a sweep's first run, and its grid.

    Raises:
        SweepError: The folder is not that of a sweep, or its file is damaged.
        ConfigError: Its configuration, or a key of its grid, is invalid.
    """
    path = Path(folder) / SWEEP
    if not path.exists():
        raise SweepError(f"{folder}: no sweep to continue (no {SWEEP}); give the folder that `--out` named")
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

    The configuration is that of the first run; the values of the grid are as JSON has them.

    Raises:
        SweepError: The folder has other content.
    """
    if _is_free(folder):
        folder.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "version": VERSION, "grid": grid, "config": config.model_dump(mode="json")}
        with replacing(folder / SWEEP) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
    elif not (folder / SWEEP).is_file():
        raise SweepError(f"{folder}: contains something other than a sweep (no {SWEEP}); give another --out")
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
        its, own = (
            " ".join(f"{key}={','.join(map(value_text, values))}" for key, values in each.items())
            for each in (its_grid, grid)
        )
        yield f"its grid is {its}, not {own}"
    here = config.model_dump(mode="json")
    for section, values in there.model_dump(mode="json").items():
        for key, value in values.items():
            if section != "device" and value != here[section][key]:
                yield f"its {section}.{key} is {value_text(value)}, not {value_text(here[section][key])}"
