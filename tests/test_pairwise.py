"""The cases that `pairwise` chooses: every pair, few cases, the same ones each time."""

from __future__ import annotations

from itertools import combinations, product

from pairwise import pairwise

PARAMETERS = ("abcd", [1, 2, 3], [True, False], ["x", "y", "z"])


def test_every_two_values_meet_in_one_of_few_cases() -> None:
    cases = pairwise(*PARAMETERS)
    for (a, first), (b, second) in combinations(enumerate(PARAMETERS), 2):
        assert {(case[a], case[b]) for case in cases} == set(product(first, second))
    assert len(cases) == len(set(cases)) <= 14  # of 72; 12 at the least
    assert cases == pairwise(*PARAMETERS)


def test_two_parameters_are_their_product() -> None:
    assert sorted(pairwise("ab", [1, 2])) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
