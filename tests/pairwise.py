"""Fewer cases than a full product: every two values of different parameters meet in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairwise(*parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the first cases of the full product, greedily those with the most new pairs, that cover every pair.

    The same parameters give the same cases in every process.
    """
    places = [range(len(values)) for values in parameters]
    columns = list(combinations(range(len(parameters)), 2))
    left = {(a, i, b, j) for a, b in columns for i in places[a] for j in places[b]}
    cases = []
    candidates = list(product(*places))
    while left:
        best = max(candidates, key=lambda case: sum((a, case[a], b, case[b]) in left for a, b in columns))
        left -= {(a, best[a], b, best[b]) for a, b in columns}
        cases.append(tuple(values[place] for values, place in zip(parameters, best, strict=True)))
    return cases
