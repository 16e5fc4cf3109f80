import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.data.permutation import Permutation


@given(st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 100))
def test_every_number_comes_once(length: int, seed: int, epoch: int) -> None:
    order = Permutation(length, (seed, epoch))[:]
    assert sorted(order.tolist()) == list(range(length))


def test_any_part_is_the_same_as_in_the_whole() -> None:
    order = Permutation(1000, (7, 0))
    assert np.concatenate([order[:10], order[10:999], order[999:]]).tolist() == order[:].tolist()


def test_the_order_is_fixed_for_ever() -> None:
    assert Permutation(10, (1, 2))[:].tolist() == [4, 6, 1, 5, 7, 9, 0, 8, 2, 3]


def test_seeds_and_epochs_give_other_orders() -> None:
    orders = {tuple(Permutation(100, seed)[:].tolist()) for seed in [(0, 0), (0, 1), (1, 0), (1, 1)]}
    assert len(orders) == 4


def test_the_first_place_is_spread_evenly() -> None:
    firsts = [int(Permutation(8, (seed,))[:1][0]) for seed in range(4000)]
    counts = np.bincount(firsts, minlength=8)
    assert (np.abs(counts - 500) < 100).all()


def test_neighbours_end_up_anywhere() -> None:
    order = Permutation(100_000, (3,))[:]
    correlation = np.corrcoef(np.arange(len(order)), order)[0, 1]
    steps = np.corrcoef(order[1:], order[:-1])[0, 1]
    assert abs(correlation) < 0.02
    assert abs(steps) < 0.02


def test_a_huge_order_needs_no_list() -> None:
    order = Permutation(10**15, (0,))
    middle = order[5 * 10**14 : 5 * 10**14 + 4]
    assert len(set(middle.tolist())) == 4
    assert middle.min() >= 0
    assert middle.max() < len(order) == 10**15


def test_nothing_has_no_order() -> None:
    with pytest.raises(ValueError, match="permutation length 0"):
        Permutation(0, (1,))
