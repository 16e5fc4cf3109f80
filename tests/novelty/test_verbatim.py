"""Runs of a text that stand in a corpus: found exactly, however the corpus is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from char_rnn.novelty import verbatim
from char_rnn.novelty.verbatim import VerbatimIndex


def brute(text: list[int], corpus: list[int]) -> list[int]:
    """For each place of a text the longest run that ends there and stands in the corpus."""
    found = {tuple(corpus[i:j]) for i in range(len(corpus)) for j in range(i, len(corpus) + 1)} | {()}
    return [
        max(length for length in range(end + 1) if tuple(text[end - length : end]) in found)
        for end in range(1, len(text) + 1)
    ]


def lengths(texts: list[list[int]], pieces: list[list[int]], size: int) -> list[list[int]]:
    index = VerbatimIndex([np.array(text, np.int64) for text in texts], size)
    for piece in pieces:
        index.read(np.array(piece, np.uint8))
    return [found.tolist() for found in index.lengths()]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], int]:
    size = draw(st.integers(1, 4))
    symbols = st.integers(0, size - 1)
    texts = draw(st.lists(st.lists(st.integers(0, size), max_size=14), min_size=1, max_size=3))
    pieces = draw(st.lists(st.lists(symbols, max_size=14), max_size=3))
    copied = draw(st.sampled_from(texts))
    return texts, [*pieces, [symbol for symbol in copied if symbol < size]], size


@settings(deadline=None, max_examples=120)
@given(cases(), st.integers(1, 5), st.integers(1, 4))
def test_it_finds_what_a_search_finds(
    case: tuple[list[list[int]], list[list[int]], int], lanes: int, shortest: int
) -> None:
    texts, pieces, size = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbatim, "LANES", lanes)
        patch.setattr(verbatim, "SHORTEST", shortest)
        found = lengths(texts, pieces, size)
    assert found == [brute(text, [symbol for piece in pieces for symbol in piece]) for text in texts]


def test_a_long_copy_is_found_over_stretches_and_pieces() -> None:
    rng = np.random.default_rng(0)
    corpus = rng.integers(0, 200, 60_000)
    text = np.concatenate([rng.integers(0, 200, 50), corpus[9_000:29_000], rng.integers(0, 200, 50)])
    index = VerbatimIndex([text], 200)
    for start in range(0, len(corpus), 7_001):
        index.read(corpus[start : start + 7_001].astype(np.uint8))
    found = index.lengths()[0]
    assert found[20_049] >= 20_000
    assert found[:50].max() < 6
    assert (np.diff(found[60:20_050]) == 1).all()


def test_a_text_that_is_all_copied_is_read_once_more_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.random.default_rng(0).integers(0, 9, 20_000)
    index = VerbatimIndex([text], 9)
    steps = []
    step = index._step
    monkeypatch.setattr(index, "_step", lambda states, *rest: steps.append(len(states)) or step(states, *rest))
    index.read(text.astype(np.uint8))
    assert index.lengths()[0].tolist() == list(range(1, 20_001))
    assert sum(steps) <= 20_000


def test_one_symbol_over_and_over() -> None:
    assert lengths([[0] * 300], [[0] * 5_000], 2) == [list(range(1, 301))]
    assert lengths([[0] * 300], [[0, 0, 1] * 2_000], 2) == [[1, *[2] * 299]]


def test_texts_that_are_too_long_are_refused() -> None:
    with pytest.raises(ValueError, match="1,000,000 symbols are too many to search for at once; give a part of it"):
        VerbatimIndex([np.arange(1_000_000) % 60], 60)
