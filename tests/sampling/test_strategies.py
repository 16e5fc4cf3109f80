"""Sampling strategies: properties on any logits, and numbers worked out by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from char_rnn.sampling.strategies import (
    apply_temperature,
    draw,
    draw_each,
    keep_min_p,
    keep_only,
    keep_top_k,
    keep_top_p,
    keep_typical_p,
    penalize_repetition,
    probabilities,
)

logits_1d = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-50, 50))
distinct = st.lists(st.integers(-2000, 2000), min_size=1, max_size=40, unique=True).map(lambda x: np.array(x) / 100)
logits_nd = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=6), elements=st.floats(-1e300, 1e300)
)
temperatures = st.floats(0, 1e6)
nuclei = st.floats(0, 1, exclude_min=True)
LOGS = np.log([0.5, 0.25, 0.125, 0.125])


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


@settings(deadline=None)
@given(logits_nd, temperatures, st.none() | st.integers(1, 50), st.none() | nuclei)
def test_probabilities_are_a_distribution(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    result = probabilities(logits, temperature, top_k=top_k, top_p=top_p)
    assert result.shape == logits.shape
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-12)
    likeliest = np.argmax(probabilities(logits, temperature), axis=-1)[..., None]
    assert (np.take_along_axis(result, likeliest, axis=-1)[..., 0] == result.max(axis=-1)).all()
    if top_k is not None:
        assert (np.count_nonzero(result, axis=-1) <= top_k).all()


@settings(deadline=None)
@given(logits_nd, st.integers(1, 10))
def test_rows_are_independent(logits: np.ndarray, top_k: int) -> None:
    rows = logits.reshape(-1, logits.shape[-1])
    one_by_one = np.stack([probabilities(row, 0.7, top_k=top_k, top_p=0.8) for row in rows])
    np.testing.assert_array_equal(
        probabilities(logits, 0.7, top_k=top_k, top_p=0.8).reshape(one_by_one.shape), one_by_one
    )


@settings(deadline=None)
@given(logits_1d, st.integers(1, 60))
def test_top_k_keeps_the_k_largest(logits: np.ndarray, k: int) -> None:
    weights = softmax(logits)
    inside = keep_top_k(weights, k)
    assert inside.sum() == min(k, len(logits))
    if not inside.all():
        assert weights[inside].min() >= weights[~inside].max()


@settings(deadline=None)
@given(logits_1d, nuclei)
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: np.ndarray, p: float) -> None:
    weights = softmax(logits)
    inside = keep_top_p(weights, p)
    assert inside[np.argmax(weights)]
    assert weights[inside].sum() >= p - 1e-9
    if inside.sum() > 1 and p < 1:
        assert weights[inside].sum() - weights[inside].min() < p + 1e-9
        assert inside.all() or weights[inside].min() >= weights[~inside].max()


@settings(deadline=None)
@given(distinct, st.floats(0.1, 10), st.none() | st.integers(1, 50), st.none() | st.floats(0.01, 0.99))
def test_agrees_with_the_specifications_filters(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    output = torch.from_numpy(logits / temperature)
    if top_k is not None:
        values, indices = torch.topk(output, min(top_k, len(logits)))
        output = torch.full_like(output, float("-inf"))
        output[indices] = values
    if top_p is not None:
        sorted_logits, order = torch.sort(output, descending=True)
        cumulative = torch.cumsum(torch.softmax(sorted_logits, dim=-1), dim=-1)
        assume(not bool(((cumulative - top_p).abs() < 1e-9).any()))
        removed = cumulative > top_p
        removed[1:] = removed[:-1].clone()
        removed[0] = False
        output[order[removed]] = float("-inf")
    expected = torch.softmax(output, dim=-1).numpy()
    np.testing.assert_allclose(probabilities(logits, temperature, top_k=top_k, top_p=top_p), expected, atol=1e-12)


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 20), elements=st.sampled_from([0.0, 0.0, 5e-324, 1e-300, 1e-9, 0.3, 1.0])),
    st.sampled_from([0.0, 0.25, 0.5, math.nextafter(1, 0)]) | st.floats(0, 1, exclude_max=True),
)
def test_what_has_probability_zero_is_never_drawn(weights: np.ndarray, number: float) -> None:
    assume(weights.any())
    assert weights[draw(weights, number)] > 0
    assert draw_each(np.stack([weights, weights]), [number, number]) == [draw(weights, number)] * 2


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_the_product_that_rounds_up_to_the_sum_draws_the_last(seed: int) -> None:
    weights = np.append(np.random.default_rng(seed).random(30), 0.0)
    assert draw(weights, 1.0) == 29
    assert draw_each(weights[None], [1.0]) == [29]


def test_by_hand() -> None:
    np.testing.assert_allclose(probabilities(LOGS), [0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(probabilities(LOGS, 0.5), np.array([16, 4, 1, 1]) / 22)
    np.testing.assert_allclose(probabilities(LOGS, top_k=2), [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, top_k=3), [4 / 7, 2 / 7, 1 / 7, 0])
    np.testing.assert_allclose(probabilities(LOGS, top_p=0.5), [1, 0, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, top_p=0.51), [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, top_p=1e-9), [1, 0, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, top_k=99, top_p=1), [0.5, 0.25, 0.125, 0.125])


def test_temperature_comes_before_top_k_before_top_p() -> None:
    # At temperature 2 the likeliest has 0.37 of all, and 0.59 of the first two: the nucleus of 0.58 is then one symbol.
    np.testing.assert_allclose(probabilities(LOGS, 2.0, top_k=2, top_p=0.58), [1, 0, 0, 0])
    assert np.count_nonzero(probabilities(LOGS, 2.0, top_p=0.58)) == 2
    assert np.count_nonzero(probabilities(LOGS, 1.0, top_k=2, top_p=0.68)) == 2


@settings(deadline=None)
@given(logits_1d, nuclei)
def test_min_p_keeps_what_is_likely_beside_the_likeliest(logits: np.ndarray, p: float) -> None:
    weights = softmax(logits)
    assume(not bool((np.abs(weights - p * weights.max()) < 1e-12).any()))
    np.testing.assert_array_equal(keep_min_p(weights, p), weights >= p * weights.max())


@settings(deadline=None)
@given(logits_1d, nuclei)
def test_typical_keeps_the_smallest_set_of_the_most_typical(logits: np.ndarray, p: float) -> None:
    weights = softmax(logits)
    inside = keep_typical_p(weights, p)
    information = -np.log(weights)
    distances = np.abs(information - weights @ information)
    assert inside.any()
    assert weights[inside].sum() >= p - 1e-9
    if not inside.all():
        assert distances[inside].max() <= distances[~inside].min() + 1e-12
        last = np.flatnonzero(inside)[np.argmax(distances[inside])]
        assert weights[inside].sum() - weights[last] < p + 1e-9 or inside.sum() == 1


def test_the_later_filters_by_hand() -> None:
    # The entropy is 1.75 bits: 1, 2, 3 and 3 bits are 0.75, 0.25 and 1.25 away.
    np.testing.assert_allclose(probabilities(LOGS, typical_p=0.25), [0, 1, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, typical_p=0.26), [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, typical_p=0.8), [4 / 7, 2 / 7, 1 / 7, 0])
    np.testing.assert_allclose(probabilities(LOGS, typical_p=1), [0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(probabilities(LOGS, min_p=0.4), [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, min_p=1), [1, 0, 0, 0])
    # Top-k leaves 1 and 2 bits: their entropy in what is left is 0.918 bits, and the first has 0.585 of them.
    np.testing.assert_allclose(probabilities(LOGS, top_k=2, typical_p=0.5), [1, 0, 0, 0])
    np.testing.assert_allclose(probabilities(LOGS, 0.5, min_p=0.24), [0.8, 0.2, 0, 0])
    assert probabilities([0.0, -np.inf], typical_p=0.5).tolist() == [1, 0]


def test_repetitions_become_powers_of_themselves() -> None:
    def penalized(log_probs: np.ndarray, recent: list[int], penalty: float) -> np.ndarray:
        values = log_probs.copy()
        penalize_repetition(values, recent, penalty)
        return values

    np.testing.assert_allclose(np.exp(penalized(LOGS, [1, 3, 1], 2)), [0.5, 0.0625, 0.125, 0.015625])
    np.testing.assert_allclose(np.exp(penalized(LOGS, [], 2)), [0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(penalized(np.array([0.0, -math.inf]), [0, 1], 1.5), [0, -math.inf])


def test_only_some_are_kept() -> None:
    np.testing.assert_array_equal(keep_only([3.0, 2.0, 1.0], np.array([False, True, True])), [-np.inf, 2, 1])


def test_temperature_zero_is_greedy_and_takes_the_first_of_equals() -> None:
    np.testing.assert_array_equal(probabilities([1.0, 3.0, 3.0], 0), [0, 1, 0])
    np.testing.assert_array_equal(probabilities(np.zeros((2, 3)), 0), [[1, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-3])
def test_temperatures_next_to_zero_do_not_overflow(temperature: float) -> None:
    np.testing.assert_array_equal(probabilities([-1e300, 1.0, 3.0], temperature), [0, 0, 1])


def test_symbols_that_are_out_stay_out() -> None:
    logits = [0.0, -np.inf, 1.0]
    for top_k, top_p in [(None, None), (3, None), (None, 1.0), (3, 0.999999), (9, 1.0)]:
        assert probabilities(logits, 1e6, top_k=top_k, top_p=top_p)[1] == 0


def test_arguments_are_not_changed() -> None:
    logits = np.array([1.0, 2.0, 3.0])
    keep_top_k(logits, 1)
    keep_top_p(logits, 0.1)
    apply_temperature(logits, 0)
    probabilities(logits, 0.5, top_k=2, top_p=0.9, min_p=0.1, typical_p=0.5)
    np.testing.assert_array_equal(logits, [1, 2, 3])


def test_draws_follow_the_probabilities() -> None:
    rng = np.random.default_rng(3)
    counts = Counter(draw(np.array([0.5, 0.0, 0.3, 0.2]), rng.random()) for _ in range(20_000))
    expected = {0: 10_000, 2: 6_000, 3: 4_000}
    assert sum((counts[index] - number) ** 2 / number for index, number in expected.items()) < 13.8  # p = 0.001
    assert set(counts) == set(expected)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([0.0, np.nan], "logits: contain NaN, so"),
        ([0.0, np.inf], r"logits: contain \+inf, so"),
        ([-np.inf, -np.inf], "logits: contain only -inf, so"),
        ([[0.0, 1.0], [np.nan, 1.0]], "logits: contain NaN, so"),
    ],
)
def test_logits_that_cannot_be_drawn_from(logits: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        probabilities(logits)
