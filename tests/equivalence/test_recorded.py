"""The exact recipe against recordings of itself, made when it had been shown equal to the 2015 program."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from record import CASES, FOLDER, measure

PRECISE = {"losses": 1e-12, "validation": 1e-12, "rates": 0, "log_probs": 1e-11, "final": 1e-9}


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    recorded = json.loads((FOLDER / f"{request.param}.json").read_text(encoding="utf-8"))
    return measure(request.param), recorded


def test_the_seed_gives_the_same_parameters_and_leaves_the_generator_there(pair: Any) -> None:
    measured, recorded = pair
    for name in ("parameters", "initial", "next_words"):
        assert measured[name] == recorded[name]


@pytest.mark.parametrize("name", PRECISE)
def test_training_computes_the_same_numbers(pair: Any, name: str) -> None:
    measured, recorded = pair
    assert len(measured[name]) == len(recorded[name]) > 2
    np.testing.assert_allclose(measured[name], recorded[name], rtol=PRECISE[name], atol=1e-14)


def test_the_same_text_is_sampled(pair: Any) -> None:
    measured, recorded = pair
    assert measured["samples"] == recorded["samples"]
