"""What the command line of ``char-rnn sweep`` asks for: a configuration, and the values of a grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.options import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from char_rnn.cli.train_request import Request
    from char_rnn.utils.config import Config, Setting

OPENING, CLOSING, QUOTES = "[{", "]}", "\"'"


def with_recipe(request: Request, recipe: str | None) -> Request:
    """Take RECIPE for the name of a recipe, or else for a file."""
    from char_rnn.utils.config import recipes

    if recipe is None:
        raise click.UsageError(
            "Missing argument 'RECIPE': give the name of a recipe (see `char-rnn config list`) or a YAML file"
        )
    is_file = recipe not in recipes() and (Path(recipe).exists() or len(Path(recipe).parts) > 1 or "." in recipe)
    return replace(request, config_file=recipe) if is_file else replace(request, recipe=recipe)


def asked(request: Request, axes: Sequence[str], seeds: str | None) -> tuple[Config, Mapping[str, list[Any]]]:
    """Return the configuration of the first run, and the values of each key.

    Raises:
        ConfigError: a value cannot be read, or the first ones cannot be used.
        UsageError: nothing is swept, or something twice.
    """
    from char_rnn.utils.config import read_setting

    grid: dict[str, list[Any]] = {}
    first: list[Setting] = []
    each = [_settings(axis) for axis in axes]
    if seeds is not None:
        each.append(_seeds(seeds))
    for settings in each:
        read = [read_setting(setting) for setting in settings]
        key = read[0][0]
        if key in grid:
            raise click.UsageError(f"{key} is in the grid twice; give all its values together")
        grid[key] = [value for _, value in read]
        first.append(settings[0])
    if not grid:
        raise click.UsageError("the grid is empty: give --grid SECTION.KEY=V1,V2,... or --seeds S1,S2,...")
    _check_given_once(request, grid)
    return request.config(first), grid


def _check_given_once(request: Request, grid: Mapping[str, object]) -> None:
    given = {text.partition("=")[0].strip(): f"--set {text}" for text in request.overrides}
    if request.minutes is not None:
        given["training.minutes"] = "--minutes"
    if request.data:
        given["data.data_dir"] = "DATA"
    if request.device is not None:
        given["device.preferred"] = "--device"
    for key in grid:
        if key in given:
            raise click.UsageError(f"{key} is both in the grid and given by {given[key]}: leave one of them out")


def _settings(axis: str) -> list[Setting]:
    """Return ``section.key=V1,V2`` as one setting a value."""
    from char_rnn.utils.config import ConfigError, Setting

    key, equals, text = axis.partition("=")
    values = split_values(text)
    if not equals or not all(values):
        empty = "an empty value" if len(values) > 1 else "no values"
        raise ConfigError(
            f"--grid {shown(axis)}: has {empty}; write section.key=V1,V2, with '' for an empty text and null for none"
        )
    return [Setting(f"{key}={value}", f"--grid {key}={value}") for value in values]


def _seeds(text: str) -> list[Setting]:
    """Return ``S1,S2`` as one setting a seed."""
    from char_rnn.utils.config import ConfigError, Setting

    values = split_values(text)
    if not all(values):
        raise ConfigError(f"--seeds {shown(text)}: a seed is missing; write S1,S2,...")
    return [Setting(f"training.seed={value}", f"--seeds {value}") for value in values]


def split_values(text: str) -> list[str]:
    """Split at commas, as YAML's flow lists are: not inside brackets, nor inside quotation marks that begin a value."""
    values, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            escaped = quote == '"' and values[-1].endswith("\\")
            quote = "" if character == quote and not escaped else quote
        elif character in QUOTES and values[-1].lstrip()[:1] in {"", character}:
            quote = character
        elif character == "," and depth <= 0:
            values.append("")
            continue
        else:
            depth += (character in OPENING) - (character in CLOSING)
        values[-1] += character
    return [value.strip() for value in values]
