"""Stretches of a text that occur in a corpus, by characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.data.corpus import Corpus
from char_rnn.data.vocabulary import VocabularyKind
from char_rnn.novelty.copied import copied_stretches


def stretches(text: str, corpus: str, at_least: int, kind: VocabularyKind = "characters") -> list[tuple[int, int]]:
    given = Corpus.from_text(corpus, vocabulary=kind)
    return copied_stretches(given.ids, given.vocabulary, text, at_least)


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_the_stretches_of_a_text(kind: VocabularyKind) -> None:
    corpus = "Where is the café? It is 東 of here, on the hill."
    text = "Is the café there? It is 東 of here. On the hill"
    found = stretches(text, corpus, 8, kind)
    assert [text[start:end] for start, end in found] == ["s the café", "? It is 東 of here", "n the hill"]
    assert stretches(text, corpus, 11, kind) == [found[1]]
    assert stretches("", corpus, 1, kind) == []
    assert stretches("~~~", corpus, 1, kind) == []


def test_a_part_of_a_character_is_not_copied() -> None:
    assert stretches("aé", "aè", 1, "bytes") == [(0, 1)]  # é and è begin with the same byte
    assert stretches("éab", "©ab", 1, "bytes") == [(1, 3)]  # and é and © end with the same


def test_stretches_may_overlap() -> None:
    assert stretches("abcdef", "abcd cdef", 3) == [(0, 4), (2, 6)]


@given(st.text("ab", max_size=30), st.text("ab\u00e9", min_size=1, max_size=40), st.integers(1, 5))
def test_exactly_the_copied_characters_are_covered(text: str, corpus: str, at_least: int) -> None:
    for kind in ("characters", "bytes"):
        covered = {place for start, end in stretches(text, corpus, at_least, kind) for place in range(start, end)}
        windows = [start for start in range(len(text) - at_least + 1) if text[start : start + at_least] in corpus]
        assert covered == {place for start in windows for place in range(start, start + at_least)}


def test_the_progress_can_stop_the_search() -> None:
    def stop(_done: int, _total: int) -> None:
        raise TimeoutError

    given = Corpus.from_text("abc")
    with pytest.raises(TimeoutError):
        copied_stretches(given.ids, given.vocabulary, "abc", 1, stop)
