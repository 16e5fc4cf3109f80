"""Grids: every combination of some values of a configuration, each with a name of its own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from char_rnn.utils.config import Config, ConfigError, config_from_dict
from char_rnn.utils.config.fields import shown

Grid = Mapping[str, Sequence[Any]]
"""The values of each key, ``section.key``."""

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
    base = config.model_dump(mode="json")
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    configs = [_changed(base, values) for values in combinations]
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


def _changed(base: Mapping[str, Any], values: Mapping[str, Any]) -> Config:
    changed: dict[str, Any] = deepcopy(dict(base))
    for key, value in values.items():
        section, _, name = key.partition(".")
        changed.setdefault(section, {})[name] = value
    return config_from_dict(changed, f"grid, {values_text(values)}")


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
