"""docs/migration.md against the program: its flags, the keys it names, and the defaults in its tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import rich_click as click
import yaml

from char_rnn.cli.sample import command as sample
from char_rnn.cli.train import command as train
from char_rnn.torch7 import FLAGS, IMPLIED
from char_rnn.utils.config import Config, compose_config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migration.md"
KEY = re.compile(r"`(?:--set )?((?:model|training|data|generation|logging|device)\.(?!t7\b)\w+)(?:=([^`]*))?`")


def rows(heading: str) -> dict[str, list[str]]:
    """The other cells of the tables under a heading, by the flag in the first."""
    _, section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")
    section = section.split("\n## ")[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `-")]
    return {first.strip(" `"): [cell.strip() for cell in rest] for first, *rest in lines}


def one_dash(command: click.Command) -> set[str]:
    """The options of a command that are written with one dash, as in 2015."""
    names = {name for parameter in command.params for name in parameter.opts}
    return {name for name in names if re.fullmatch(r"-\w{2,}", name)}


def value(config: Config, name: str) -> object:
    section, key = name.split(".")
    return getattr(getattr(config, section), key)


@pytest.mark.parametrize(("program", "command"), [("train.lua", train), ("sample.lua", sample)])
def test_the_tables_have_every_flag_and_no_other(program: str, command: click.Command) -> None:
    assert len(one_dash(command)) >= 8
    assert set(rows(f"Flags of {program}")) == one_dash(command)


def test_each_flag_is_beside_the_key_that_it_sets() -> None:
    table = rows("Flags of train.lua")
    for name, key in FLAGS.items():
        successor, implied = table[f"-{name}"][0], IMPLIED.get(name)
        assert f"`{key}`" in successor
        assert implied is None or f"`{implied}`" in successor or successor.endswith("likewise")


@pytest.mark.parametrize("heading", ["Flags of train.lua", "Flags of sample.lua"])
def test_the_defaults_are_those_of_the_recipe_and_of_today(heading: str) -> None:
    configs = compose_config("torch7"), Config()
    compared = 0
    for successor, *defaults in rows(heading).values():
        keys = KEY.findall(successor)
        for config, default in zip(configs, defaults, strict=True):
            if keys and default.startswith("`"):
                assert yaml.safe_load(default.split("`")[1]) == value(config, keys[0][0]), keys[0][0]
                compared += 1
    assert compared == {"Flags of train.lua": 40, "Flags of sample.lua": 8}[heading]


def test_every_key_on_the_page_exists_and_takes_the_value_given() -> None:
    found = KEY.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) > 25
    for name, given in found:
        value(Config(), name)
        if given:
            assert str(value(compose_config(overrides=[f"{name}={given}"]), name)).startswith(given)
