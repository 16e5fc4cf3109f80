"""The sampling options and their declarations."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from char_rnn.sampling.options import NUMBERS, OPTIONS, Strategy
from char_rnn.sampling.strategies import FILTERS
from char_rnn.utils.config import GenerationConfig


def test_the_defaults_change_nothing() -> None:
    strategy = Strategy()
    assert (strategy.temperature, strategy.repetition_penalty, strategy.banned) == (1, 1, "")
    kept = (strategy.final_temperature, strategy.top_k, strategy.top_p, strategy.min_p, strategy.typical_p)
    assert set(kept) == {None}
    assert strategy == Strategy()
    assert hash(strategy) == hash(Strategy())
    with pytest.raises(dataclasses.FrozenInstanceError):
        strategy.temperature = 2  # type: ignore[misc]


def test_a_models_configuration_names_one() -> None:
    config = GenerationConfig(temperature=0.7, top_k=9, top_p=None, min_p=0.1, repetition_penalty=1.5)
    assert Strategy.of(config) == Strategy(0.7, top_k=9, min_p=0.1, repetition_penalty=1.5)
    assert Strategy.of(config, top_k=None, banned="x") == Strategy(0.7, min_p=0.1, repetition_penalty=1.5, banned="x")
    given = {"final_temperature": 0.5, "typical_p": 0.8, "repetition_window": 5, "top_p": 0.4}
    assert Strategy.of(GenerationConfig(**given)) == Strategy(**given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^min_p: "):
        Strategy.of(config, min_p=2)


@pytest.mark.parametrize("name", ["top_p", "min_p", "typical_p"])
@pytest.mark.parametrize("value", [0, 1.1, -0.5, math.nan, "0.5", True])
def test_shares_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: must be a number more than 0 and at most 1, or None; "):
        Strategy(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, r"temperature: must be a number, 0 or more; given -1"),
        ({"temperature": math.nan}, "temperature: .*; given nan"),
        ({"temperature": math.inf}, "temperature: .*; given inf"),
        ({"temperature": "1"}, "temperature: .*; given '1'"),
        ({"temperature": True}, "temperature: .*; given True"),
        ({"top_k": 2.0}, "top_k: .*; given 2.0"),
        ({"top_k": True}, "top_k: .*; given True"),
        ({"final_temperature": math.inf}, "final_temperature: must be a number, 0 or more, or None; given inf"),
        ({"top_k": 0}, "top_k: must be a whole number from 1 to 1,000,000,000, or None; given 0"),
        ({"repetition_penalty": 0}, r"repetition_penalty: must be a number more than 0 and at most 100; given 0"),
        ({"repetition_penalty": 101}, "repetition_penalty: .*; given 101"),
        ({"repetition_penalty": math.nan}, "repetition_penalty: .*; given nan"),
        ({"repetition_window": 0}, "repetition_window: must be a whole number from 1 to 1,000,000,000; given 0"),
        ({"repetition_window": 10**30}, "repetition_window: .*; given 10+"),
        ({"banned": None}, "banned: must be a text; given None"),
        ({"allowed": ""}, "allowed: must be a text of at least one character, or None; given ''"),
        ({"allowed": 3}, "allowed: .*; given 3"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Strategy(**settings)


def takes(kind: type, values: dict[str, Any]) -> bool:
    try:
        kind(**values)
    except ValueError:
        return False
    return True


def test_each_filter_is_declared_and_each_declaration_has_its_description() -> None:
    assert set(FILTERS) < set(NUMBERS) < set(OPTIONS) == set(Strategy.__dataclass_fields__)
    for option in OPTIONS.values():
        assert option.help.endswith(".")
        assert (option.slider is None) == (option.range.type is str)
        option.range.check(option.name, option.default)


def test_the_configuration_has_the_options_with_their_ranges_and_descriptions() -> None:
    for name in NUMBERS:
        field, option = GenerationConfig.model_fields[name], OPTIONS[name]
        assert str(field.description).startswith(option.help.removesuffix("."))
        assert field.default == (0.9 if name == "top_p" else option.default)
        for value in (-1, 0, 1e-9, 0.5, 1, 1.5, 100, 101, 10**9 + 1, math.inf, None, "1", True):
            assert takes(GenerationConfig, {name: value}) == takes(Strategy, {name: value}), (name, value)


def test_the_files_made_from_declarations_are_up_to_date() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, root / ".ci" / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
