"""Torch7's random numbers: words, uniform numbers, choices, and the state in a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.torch7.random import Generator

SEED_123 = [2991312382, 3062119789, 1228959102, 1840268610]


def test_a_known_seed_gives_the_known_words() -> None:
    assert Generator(123).words(4).tolist() == SEED_123
    assert Generator(5489).words(10_000)[-1] == 4123659995  # the reference implementation's ten thousandth word


@pytest.mark.parametrize(("seed", "same"), [(-5, 2**32 - 5), (2**32 + 4, 4), (-(2**40), 0)])
def test_seeds_count_by_their_remainder(seed: int, same: int) -> None:
    assert (Generator(seed).words(700) == Generator(same).words(700)).all()


@pytest.mark.parametrize(
    ("seed", "same"),
    [
        (2**53 + 1, 2**53),  # the double between two is the even one
        (2**53 + 3, 2**53 + 4),
        (-(2**53) - 3, -4),
        (2**62 + 2**31, 2**31),
        (2**63 - 1, 0),
        (2**64, 0),
        (-(10**400), 0),
    ],
)
def test_seeds_beyond_53_bits_are_lua_doubles(seed: int, same: int) -> None:
    assert (Generator(seed).words(9) == Generator(same).words(9)).all()


def test_numpy_seeds_alike() -> None:
    for seed in (0, 1, 2015, 2**32 - 1):
        words = np.random.RandomState(seed).randint(0, 2**32, 1300, dtype=np.uint32)
        assert (Generator(seed).words(1300) == words).all()


@given(st.lists(st.integers(0, 700), max_size=6))
def test_pieces_of_any_size_are_the_same_stream(sizes: list[int]) -> None:
    whole = Generator(7).words(sum(sizes))
    generator = Generator(7)
    pieces = [generator.words(size) for size in sizes]
    assert (np.concatenate([np.empty(0, np.uint64), *pieces]) == whole).all()


def test_uniform_is_one_word_each_in_double_precision() -> None:
    values = Generator(123).uniform(-0.08, 0.08, 4)
    assert values.dtype == np.float64
    assert values.tolist() == [word * 2.0**-32 * (0.08 - -0.08) + -0.08 for word in SEED_123]


def test_bernoulli_takes_the_bound_itself() -> None:
    bound = SEED_123[0] / 2**32
    assert Generator(123).bernoulli(bound, 4).tolist() == [True, False, True, True]
    below = np.nextafter(bound, 0)
    assert Generator(123).bernoulli(float(below), 4).tolist() == [False, False, True, True]
    generator = Generator(123)
    generator.bernoulli(0.5, 3)
    assert generator.words(1)[0] == SEED_123[3]


def test_multinomial_is_the_first_sum_that_reaches_the_word() -> None:
    weights = np.array([1, 2, 1, 0, 4], np.float32)
    drawn, uniform = Generator(5), Generator(5).uniform(0, 1, 500)
    bounds = [0.125, 0.375, 0.5, 0.5, 1.0]
    expected = [next(j for j, bound in enumerate(bounds) if bound >= u) for u in uniform]
    assert [drawn.multinomial(weights) for _ in uniform] == expected
    assert set(expected) == {0, 1, 2, 4}


def test_multinomial_takes_an_equal_sum() -> None:
    bound = SEED_123[0] / 2**32
    assert Generator(123).multinomial(np.array([bound, 1 - bound])) == 0


def test_multinomial_sums_float32_in_double() -> None:
    """Summed in float32 the small ones would vanish beside the first."""
    weights = np.array([1.0, *[2.0**-25] * 8], np.float32)
    generator = Generator(0)
    state = generator.state_array()
    state[0], state[-1] = _untempered(2**32 - 1), 0  # u = 1 - 2**-32, above all sums but the last
    generator.load_state_array(state)
    assert generator.multinomial(weights) == 8


def _untempered(word: int) -> int:
    """The state word that the twister puts out as ``word``."""
    word ^= word >> 18
    word ^= word << 15 & 0xEFC60000
    for shifted in range(4):
        word ^= word << 7 & 0x9D2C5680 & 0x7F << 7 * (shifted + 1)
    first = word ^ word >> 11
    return word ^ first >> 11


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -0.5], [np.nan, 1.0], [np.inf, 1.0]])
def test_what_cannot_be_drawn_from_is_refused_without_a_draw(weights: list[float]) -> None:
    generator = Generator(123)
    with pytest.raises(ValueError, match=r"^probabilities: must be finite numbers, 0 or more, and not all 0$"):
        generator.multinomial(np.array(weights))
    assert generator.words(1)[0] == SEED_123[0]


def test_the_state_goes_on_where_it_was() -> None:
    generator = Generator(1)
    generator.words(1000)
    state = generator.state_array()
    assert (state.dtype, state.shape) == (np.uint32, (625,))
    expected = generator.words(2000)
    other = Generator(99)
    other.load_state_array(state)
    assert (other.words(2000) == expected).all()


@pytest.mark.parametrize(
    "state", [np.zeros(624, np.uint32), np.zeros(625), np.full(625, 625), np.full(625, -1), np.full(625, 2**32)]
)
def test_what_is_no_state_is_refused(state: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^generator state: must be 624 32-bit words and a position up to 624"):
        Generator(1).load_state_array(state)
