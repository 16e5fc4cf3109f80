"""The sampler, held to a reference; and the kernels that draw, held to the sampler."""

from __future__ import annotations

import ctypes
import math
import threading
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies_reference import distribution

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.sampler import Sampler
from char_rnn.kernels import load
from char_rnn.models.parameters import parameter_shapes
from char_rnn.sampling.options import Strategy
from char_rnn.sampling.strategies import PredictionError, draw_each, keep_only, penalize_repetition
from char_rnn.utils.config import ModelConfig

needs_kernels = pytest.mark.skipif(load() is None, reason="the kernels are not built, or do not run here")
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
    logits = keep_only(log_probs, kept)
    penalize_repetition(logits, recent, strategy.repetition_penalty)
    filters = {name: getattr(strategy, name) for name in ("top_k", "top_p", "min_p", "typical_p")}
    return distribution(logits, strategy.temperature, **filters)


@settings(deadline=None, max_examples=100)
@given(strategies, rows, st.lists(st.integers(0, 11), max_size=6))
def test_weights_are_those_of_the_reference(strategy: Strategy, log_probs: np.ndarray, recent: list[int]) -> None:
    weights = Sampler(strategy, SYMBOLS).weights(log_probs, strategy.temperature, [recent] * len(log_probs))
    shares = weights / weights.sum(axis=-1, keepdims=True)
    for row, values in zip(shares, log_probs, strict=True):
        np.testing.assert_allclose(row, expected(strategy, values, recent), atol=1e-12)


@settings(deadline=None, max_examples=80)
@given(strategies, rows, st.integers(0, 2**32))
def test_one_text_draws_what_it_draws_among_others(strategy: Strategy, log_probs: np.ndarray, seed: int) -> None:
    sampler, count = Sampler(strategy, SYMBOLS), len(log_probs)
    together = draw_each(
        sampler.weights(log_probs, strategy.temperature, [[1, 2]] * count),
        [np.random.default_rng(seed + row).random() for row in range(count)],
    )
    alone = [
        sampler.choose(values, strategy.temperature, [1, 2], np.random.default_rng(seed + row))
        for row, values in enumerate(log_probs)
    ]
    assert together == alone


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}])
@pytest.mark.parametrize("number", [0.0, 0.5, 0.999, math.nextafter(1, 0), 1.0])
def test_what_has_weight_zero_is_never_drawn(settings: dict[str, Any], number: float) -> None:
    log_probs = np.array([-math.inf, -1, -2000, -3, -math.inf, -1, *[-math.inf] * 6])
    sampler = Sampler(Strategy(**settings), SYMBOLS)
    assert sampler.choose(log_probs, 1.0, None, Fixed(number)) in (1, 3, 5)
    assert set(draw_each(sampler.weights([log_probs] * 2, 1.0), [number] * 2)) <= {1, 3, 5}


def test_arguments_are_not_changed() -> None:
    log_probs = np.full(12, -2.0)
    for strategy in (Strategy(), Strategy(top_k=2, banned="a"), Strategy(0), Strategy(repetition_penalty=2)):
        Sampler(strategy, SYMBOLS).choose(log_probs, strategy.temperature, [3], np.random.default_rng(0))
    assert (log_probs == -2).all()


def test_single_precision_does_not_overflow() -> None:
    log_probs = np.array([-1, -np.finfo(np.float32).max, *[-2] * 10], dtype=np.float32)
    for temperature in (1e-3, 1e-5, 5e-324):
        sampler = Sampler(Strategy(temperature), SYMBOLS)
        assert sampler.choose(log_probs, temperature, None, np.random.default_rng(0)) == 0


def test_draws_follow_the_weights() -> None:
    rng, sampler = np.random.default_rng(3), Sampler(Strategy(), SYMBOLS)
    log_probs = np.log([0.5, 0.3, 0.2, *[1e-300] * 9])
    counts = Counter(sampler.choose(log_probs, 1.0, None, rng) for _ in range(20_000))
    assert set(counts) == {0, 1, 2}
    assert sum((counts[index] - number) ** 2 / number for index, number in enumerate((10_000, 6_000, 4_000))) < 13.8


def engine_of(bias: np.ndarray, scale: float, precision: Any = "float32", bad: int | None = None) -> Engine:
    """An engine whose scores are random, times ``scale``, about ``bias`` (V,); NaN after the symbol ``bad``."""
    config = ModelConfig(type="rnn", hidden_size=4, num_layers=1, embedding_size=4)
    rng = np.random.default_rng(1)
    tensors = {name: rng.normal(size=shape) for name, shape in parameter_shapes(config, len(bias))}
    tensors["output_proj.weight"] *= scale
    tensors["output_proj.bias"] = bias
    tensors["embedding.weight"][[] if bad is None else bad] = math.nan
    return Engine(config, tensors, precision)


def drawn(engine: Engine, sampler: Sampler, temperatures: np.ndarray, blocks: list[int], seed: int) -> list[int]:
    """Symbols that the kernels draw in blocks; -1 for predictions that nothing can be drawn from."""
    rng, made = np.random.default_rng(seed), [0]
    writer = engine.begin().writer(sampler, rng)
    assert writer is not None
    try:
        while len(made) <= len(temperatures):
            most = blocks[len(made) % len(blocks)]
            made += writer(made[-1], temperatures[len(made) - 1 :][:most])
    except PredictionError:
        made.append(-1)
    return [*made, rng.integers(2**60)]


def chosen(engine: Engine, sampler: Sampler, temperatures: np.ndarray, seed: int) -> list[int]:
    """What `drawn` should be, symbol by symbol."""
    streams, rng, made = engine.begin(), np.random.default_rng(seed), [0]
    try:
        for temperature in temperatures:
            made.append(sampler.choose(streams.step(made[-1:])[0], temperature, None, rng))
    except PredictionError:
        made.append(-1)
    return [*made, rng.integers(2**60)]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"temperature": 0.003},
    {"temperature": 1e-300},
    {"temperature": 1.7},
    {"top_k": 1},
    {"top_k": 7},
    {"top_p": 0.9},
    {"top_p": 1e-9},
    {"top_p": 1.0, "min_p": 0.2},
    {"min_p": 1.0},
    {"top_k": 40, "top_p": 0.7, "min_p": 0.01, "temperature": 0.8, "banned": "acz"},
    {"allowed": "a", "top_p": 0.5},
]


@needs_kernels
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("size", "length"), [(1, 5), (2, 40), (65, 150), (256, 100), (5000, 20)])
def test_the_kernels_draw_what_is_drawn_symbol_by_symbol(size: int, length: int, settings: dict[str, Any]) -> None:
    if size < 3:
        settings = {**settings, "banned": ""}
    sampler = Sampler(Strategy(**settings), Vocabulary("characters", range(97, 97 + size)))
    for seed, scale, precision in [(0, 3.0, "float32"), (1, 0.0, "float64"), (2, 100.0, "bfloat16")]:
        engine = engine_of(np.random.default_rng(seed).normal(size=size).round(1), scale, precision)
        temperatures = np.full(length, sampler.strategy.temperature)
        expected = chosen(engine, sampler, temperatures, seed)
        assert drawn(engine, sampler, temperatures, [1, 7, 64], seed) == expected


numbers = st.floats(-1000, 10).map(round) | st.sampled_from([-math.inf, -math.inf, math.nan, math.inf, -1e38])
in_blocks = strategies.filter(lambda strategy: strategy.repetition_penalty == 1).map(
    lambda strategy: replace(strategy, typical_p=None)
)


@needs_kernels
@settings(deadline=None, max_examples=80)
@given(in_blocks, hnp.arrays(np.float64, 12, elements=numbers), st.integers(0, 2**32), st.sampled_from([0, 1, 50]))
def test_the_kernels_draw_the_same_from_any_scores(
    strategy: Strategy, bias: np.ndarray, seed: int, scale: float
) -> None:
    engine, sampler = engine_of(bias, scale), Sampler(strategy, SYMBOLS)
    temperatures = np.linspace(strategy.temperature, 1, 9)
    with np.errstate(over="ignore"):  # of 1e38 divided by a temperature, which `choose` means
        expected = chosen(engine, sampler, temperatures, seed)
    assert drawn(engine, sampler, temperatures, [4], seed) == expected


@needs_kernels
@pytest.mark.parametrize("blocks", [[1], [5], [100]], ids=str)
def test_predictions_gone_bad_end_a_block_before_them(blocks: list[int]) -> None:
    """What was drawn before them is returned; the next call raises."""
    engine, sampler = engine_of(np.zeros(12), 0, bad=3), Sampler(Strategy(), SYMBOLS)
    for seed in range(10):
        expected = chosen(engine, sampler, np.ones(100), seed)
        assert expected[-3:-1] == [3, -1]
        assert drawn(engine, sampler, np.ones(100), blocks, seed) == expected


@needs_kernels
@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.5}, {"banned": "a"}])
@pytest.mark.parametrize("number", [0.0, 0.5, 0.75, math.nextafter(1, 0), 1.0])
def test_the_kernels_draw_at_the_edges_of_the_weights(settings: dict[str, Any], number: float) -> None:
    """Weights whose sums are exact, some of them 0, and a uniform number that is given."""
    interface = Mock(next_double=ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(lambda _: number), state_address=0)
    rng = Mock(bit_generator=Mock(ctypes=interface, lock=threading.Lock()))
    streams, sampler = (
        engine_of(np.array([0.0] * 8 + [-math.inf] * 4), 0).begin(),
        Sampler(Strategy(**settings), SYMBOLS),
    )
    writer = streams.writer(sampler, rng)
    assert writer is not None
    assert writer(0, np.ones(1)) == [sampler.choose(streams.step([0])[0], 1.0, None, Fixed(number))]


def test_what_the_kernels_do_not_draw_by() -> None:
    for strategy in (Strategy(typical_p=0.5), Strategy(repetition_penalty=2)):
        streams = engine_of(np.zeros(12), 1).begin()
        assert streams.writer(Sampler(strategy, SYMBOLS), np.random.default_rng(0)) is None
