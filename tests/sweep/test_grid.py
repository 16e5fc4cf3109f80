"""A grid's combinations: each a checked configuration, with a name that every file system takes."""

from __future__ import annotations

from typing import Any

import pytest
from training_helpers import small_config

from char_rnn.sweep.grid import labels, points
from char_rnn.utils.config import ConfigError


def test_every_combination_in_order() -> None:
    grid = {"training.learning_rate": [1, 0.5], "model.type": ["gru", "rnn"], "training.adam_betas": [(0.5, 0.75)]}
    found = points(small_config(), grid)
    assert [(p.config.training.learning_rate, p.config.model.type) for p in found] == [
        (1.0, "gru"),
        (1.0, "rnn"),
        (0.5, "gru"),
        (0.5, "rnn"),
    ]
    assert found[1].values == {"training.learning_rate": 1.0, "model.type": "rnn", "training.adam_betas": [0.5, 0.75]}
    assert found[1].name == "learning_rate=1.0,type=rnn,adam_betas=0.5-0.75"
    assert {p.config.model.hidden_size for p in found} == {12}


def test_the_grid_takes_the_place_of_what_would_not_fit() -> None:
    """Only the combinations need to be good."""
    config = small_config(model={"embedding": "one-hot"})
    grid = {"model.embedding": ["learned"], "model.embedding_size": [3, 4]}
    assert [p.config.model.embedding_size for p in points(config, grid)] == [3, 4]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({}, "the grid is empty"),
        ({"training.seed": []}, "one or more values"),
        ({"model.type": "gru"}, r"must be a list of one or more values; given 'gru'"),
        ({"training.learning_rte": [1]}, "unknown key; did you mean learning_rate"),
        ({"seed": [1]}, r"did you mean training\.seed"),
        ({"training.seed": [1, 2, "three"]}, r"training\.seed: must be a whole number.*'three'"),
        ({"training.learning_rate": [0.5, 5e-1]}, r"training\.learning_rate=0\.5 twice"),
        ({"training.learning_rate": [1e-3, 1], "training.min_learning_rate": [0.01]}, r"above training\.learning_rate"),
        ({"training.seed": list(range(40)), "training.max_steps": list(range(1, 40))}, "1,560 runs, more than 1,000"),
    ],
)
def test_a_grid_that_cannot_be_used_is_told_in_one_line(grid: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        points(small_config(), grid)
    assert "\n" not in str(error.value)


def test_names_are_safe_and_no_two_the_same() -> None:
    grid = {
        "generation.prime": ["a b", "a/b", "A B", "", "..", "x" * 500, "x" * 600, "ö", "ü", "null", "q~2"],
        "training.adam_betas": [(0.9, 0.95), [0.5, 0.99]],
        "training.minutes": [None, 1],
        "logging.tensorboard": [True],
    }
    names = [point.name for point in points(small_config(), grid)]
    assert len({name.lower() for name in names}) == len(names) == 44
    assert names[0] == "prime=a-b,adam_betas=0.9-0.95,minutes=null,tensorboard=true"
    for name in names:
        assert len(name) <= 200
        assert set(name).isdisjoint('\\/:*?"<>| \t\0')
        assert name.isascii()
        assert not name.startswith(".")
        assert not name.endswith(".")


def test_a_name_that_is_too_long_is_numbered() -> None:
    keys = ("logging.savefile", "generation.prime", "data.data_dir", "logging.log_dir", "logging.checkpoint_dir")
    keys += ("data.cache_dir",)
    grid: dict[str, list[Any]] = {key: ["x" * 60] for key in keys} | {"training.seed": [1, 2]}
    names = [point.name for point in points(small_config(), grid)]
    assert [len(name) <= 200 for name in names] == [True, True]
    assert len(set(names)) == 2


def test_keys_of_two_sections_keep_them() -> None:
    assert labels(["training.seed", "generation.seed", "model.type"]) == {
        "training.seed": "training.seed",
        "generation.seed": "generation.seed",
        "model.type": "type",
    }
