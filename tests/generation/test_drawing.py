"""The fast way to draw, held to the pure functions it stands for."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.drawing import Drawing, draw
from char_rnn.generation.strategies import keep_only, penalize_repetition, probabilities
from char_rnn.generation.strategy import Strategy

SYMBOLS = Vocabulary("characters", range(97, 97 + 12))
shares = st.none() | st.floats(0.01, 1)
strategies = st.builds(
    Strategy,
    temperature=st.sampled_from([0, 1e-300, 1e-5, 1.0]) | st.floats(0.01, 10),
    top_k=st.none() | st.integers(1, 15),
    top_p=shares,
    min_p=shares,
    typical_p=shares,
    repetition_penalty=st.sampled_from([1.0, 0.5, 1.3, 100.0]),
    banned=st.sampled_from(["", "a", "cdk", "z"]),
    allowed=st.sampled_from([None, "abcdef", "l"]),
)
rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(12)), elements=st.floats(-40, 0).map(round))


class Fixed(np.random.Generator):
    """A generator whose uniform number is given."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._number = number

    def random(self, *args: Any, **kwargs: Any) -> Any:
        return self._number


def expected(strategy: Strategy, log_probs: np.ndarray, recent: list[int]) -> np.ndarray:
    kept = np.ones(12, dtype=bool)
    if strategy.allowed is not None:
        kept = np.isin(np.arange(12), [ord(letter) - 97 for letter in strategy.allowed])
    kept &= ~np.isin(np.arange(12), [ord(letter) - 97 for letter in strategy.banned])
    logits = penalize_repetition(keep_only(log_probs, kept), recent, strategy.repetition_penalty)
    filters = (strategy.top_k, strategy.top_p, strategy.min_p, strategy.typical_p)
    return probabilities(logits, strategy.temperature, *filters)


@settings(deadline=None, max_examples=300)
@given(strategies, rows, st.lists(st.integers(0, 11), max_size=6))
def test_weights_are_those_of_the_pure_functions(strategy: Strategy, log_probs: np.ndarray, recent: list[int]) -> None:
    weights = Drawing(strategy, SYMBOLS).weights(log_probs, strategy.temperature, [recent] * len(log_probs))
    shares = weights / weights.sum(axis=-1, keepdims=True)
    for row, values in zip(shares, log_probs, strict=True):
        np.testing.assert_allclose(row, expected(strategy, values, recent), atol=1e-12)


@settings(deadline=None, max_examples=200)
@given(strategies, rows, st.integers(0, 2**32))
def test_one_text_draws_what_it_draws_among_others(strategy: Strategy, log_probs: np.ndarray, seed: int) -> None:
    drawing, count = Drawing(strategy, SYMBOLS), len(log_probs)
    together = draw(
        drawing.weights(log_probs, strategy.temperature, [[1, 2]] * count),
        [np.random.default_rng(seed + row) for row in range(count)],
    )
    alone = [
        drawing.choose(values, strategy.temperature, [1, 2], np.random.default_rng(seed + row))
        for row, values in enumerate(log_probs)
    ]
    assert together == alone


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}])
@pytest.mark.parametrize("number", [0.0, 0.5, 0.999, math.nextafter(1, 0), 1.0])
def test_what_has_weight_zero_is_never_drawn(settings: dict[str, Any], number: float) -> None:
    log_probs = np.array([-math.inf, -1, -2000, -3, -math.inf, -1, *[-math.inf] * 6])
    drawing = Drawing(Strategy(**settings), SYMBOLS)
    assert drawing.choose(log_probs, 1.0, None, Fixed(number)) in (1, 3, 5)
    assert set(draw(drawing.weights([log_probs] * 2, 1.0), [Fixed(number)] * 2)) <= {1, 3, 5}


def test_arguments_are_not_changed() -> None:
    log_probs = np.full(12, -2.0)
    for strategy in (Strategy(), Strategy(top_k=2, banned="a"), Strategy(0), Strategy(repetition_penalty=2)):
        Drawing(strategy, SYMBOLS).choose(log_probs, strategy.temperature, [3], np.random.default_rng(0))
    assert (log_probs == -2).all()


def test_single_precision_does_not_overflow() -> None:
    log_probs = np.array([-1, -np.finfo(np.float32).max, *[-2] * 10], dtype=np.float32)
    for temperature in (1e-3, 1e-5, 5e-324):
        drawing = Drawing(Strategy(temperature), SYMBOLS)
        assert drawing.choose(log_probs, temperature, None, np.random.default_rng(0)) == 0


def test_draws_follow_the_weights() -> None:
    rng, drawing = np.random.default_rng(3), Drawing(Strategy(), SYMBOLS)
    log_probs = np.log([0.5, 0.3, 0.2, *[1e-300] * 9])
    counts = Counter(drawing.choose(log_probs, 1.0, None, rng) for _ in range(20_000))
    assert set(counts) == {0, 1, 2}
    assert sum((counts[index] - number) ** 2 / number for index, number in enumerate((10_000, 6_000, 4_000))) < 13.8
