"""What is new in a text: the figures, against counting by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from char_rnn.data.corpus import Corpus
from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary, VocabularyKind
from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState, seed_of_sample
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.novelty import novelty
from char_rnn.novelty.novelty import (
    Found,
    Passage,
    copied_stretches,
    find,
    held_out,
    judge,
    longest_passages,
    match,
    passages,
    sampled_symbols,
    to_symbols,
)
from char_rnn.sampling.options import Strategy
from char_rnn.utils.config import Config, ModelConfig

CORPUS = "the rose is red, the violet is blue. sugar is sweet, and so are you; the rose is redder than the violet."
VOCABULARY = Vocabulary.from_text(CORPUS)


def ids(text: str) -> np.ndarray:
    return np.array([VOCABULARY.char_to_idx.get(character, VOCABULARY.size) for character in text], np.int64)


def matched(*texts: str) -> list[np.ndarray]:
    return match([ids(text) for text in texts], ids(CORPUS).astype(np.uint8), VOCABULARY.size)


def by_hand(texts: list[str], corpus: str) -> tuple[list[Passage], list[int]]:
    """The runs, and for each character the length of the longest it is part of."""
    found, covers = [], []
    for number, text in enumerate(texts):
        cover = [0] * len(text)
        for start in range(len(text)):
            for end in range(start + 1, len(text) + 1):
                if text[start:end] in corpus:
                    longer_left = start and text[start - 1 : end] in corpus
                    longer_right = end < len(text) and text[start : end + 1] in corpus
                    if not longer_left and not longer_right:
                        found.append(Passage(number, start, end - start))
                    cover[start:end] = [max(length, end - start) for length in cover[start:end]]
        covers += cover
    return found, covers


@settings(deadline=None, max_examples=80)
@given(st.lists(st.text("ab.", max_size=12), min_size=1, max_size=3), st.text("ab", min_size=1, max_size=12))
def test_it_is_what_counting_by_hand_gives(texts: list[str], corpus: str) -> None:
    numbers = {"a": 0, "b": 1, ".": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(novelty, "PIECE", 5)
        patch.setattr(novelty, "PASS_CELLS", 20)
        patch.setattr(novelty, "NGRAMS", (2, 4))
        patch.setattr(novelty, "COPIED", (1, 3))
        symbols = [np.array([numbers[character] for character in text], np.int64) for text in texts]
        ends = match(symbols, np.array([numbers[character] for character in corpus], np.uint8), 2)
        result = judge(ends)
    expected, covers = by_hand(texts, corpus)
    assert sorted(passages(ends), key=lambda run: (run.text, run.start)) == expected
    assert result.longest == max(covers, default=0)
    assert result.copied == pytest.approx(
        {length: np.mean([cover >= length for cover in covers]) if covers else 0 for length in (1, 3)}
    )
    for length in (2, 4):
        grams = [text[start : start + length] for text in texts for start in range(len(text) - length + 1)]
        share = np.mean([gram not in corpus for gram in grams]) if grams else None
        assert result.novel[length] == (share if share is None else pytest.approx(share))
    if covers:
        assert result.quantiles[0.5] == int(np.quantile(covers, 0.5, method="lower"))


def test_many_texts_are_indexed_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "PASS_CELLS", 60)
    rng = np.random.default_rng(4)
    texts = [rng.integers(0, 9, length) for length in (7, 3, 40, 0, 5, 5, 2, 30, 1, 6)]

    def size(group: list[np.ndarray]) -> int:
        symbols = np.concatenate(group)
        return len(symbols) * len(np.unique(symbols))

    groups = list(novelty._groups(texts))
    assert [len(text) for group in groups for text in group] == [len(text) for text in texts]
    assert all(size(group) <= 60 or len(group) == 1 for group in groups)
    for group, following in itertools.pairwise(groups):
        assert size([*group, following[0]]) > 60
    corpus = np.arange(200) * 5 % 9
    together = match(texts, corpus, 9)
    for text, ends in zip(texts, together, strict=True):
        assert ends.tolist() == match([text], corpus, 9)[0].tolist()


def test_the_longest_passages_are_listed_once() -> None:
    texts = ["xx the rose is redder!", "a rose is red. sugar! the rose is redder"]
    found = longest_passages([ids(text) for text in texts], matched(*texts), 2)
    assert found == [Passage(0, 2, 19), Passage(1, 1, 12)]
    cut = [texts[run.text][run.start : run.start + run.length] for run in found]
    assert cut == [" the rose is redder", " rose is red"]


@pytest.mark.parametrize("dtype", [np.uint8, "<u2"])
def test_runs_are_found_in_the_corpus(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "PIECE", 7)
    corpus = (ids(CORPUS) + 256 * (dtype == "<u2")).astype(dtype)
    stretches = [ids(text) + 256 * (dtype == "<u2") for text in ("the rose is red", "is", ".", "an")]
    assert find(stretches, corpus) == [
        Found(CORPUS.index("the rose"), 2),
        Found(CORPUS.index("is"), CORPUS.count("is")),
        Found(CORPUS.index("."), 2),
        Found(CORPUS.index("an"), CORPUS.count("an")),
    ]


def test_no_more_places_are_counted_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "MANY", 3)
    assert find([ids("e")], ids(CORPUS).astype(np.uint8)) == [Found(2, 3)]


def test_two_bytes_of_neighbours_are_no_symbol() -> None:
    corpus = np.array([0x0102, 0x0301, 0x0203], "<u2")
    assert find([np.array([0x0203])], corpus) == [Found(2, 1)]


def test_samples_of_bytes_that_are_no_text() -> None:
    settings = ModelConfig(hidden_size=4, num_layers=1)
    of_model, of_corpus = Vocabulary("bytes", [0x61, 0xE9, 0xC3]), Vocabulary("bytes", [0xE9, 0x20, 0x61])
    rng = np.random.default_rng(1)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in parameter_shapes(settings, 3)}
    file = ModelFile(Config(model=settings), of_model, tensors)
    found = sampled_symbols(file, of_corpus, "a", 50, 4, Strategy(top_p=0.99), 7)
    texts = [file.vocabulary.encode("a").tolist() for _ in found]
    assert [len(sample) for sample in found] == [50] * 4
    assert set(np.concatenate(found).tolist()) == {0, 2, 3}
    in_model = {0: 1, 2: 0, 3: 2}
    engine = Engine(settings, tensors)
    for sample, seed, text in zip(found, (seed_of_sample(7, number) for number in range(4)), texts, strict=True):
        continuation, streams = GenerationState(of_model, "a", 50, Strategy(top_p=0.99), seed=seed), engine.begin()
        while not continuation.done:
            text.append(continuation.choose(streams.step([text[-1]])[0]))
        assert [in_model[symbol] for symbol in sample.tolist()] == text[1:]
    with pytest.raises(UnknownCharacterError, match=r"unknown byte 0x62 \('b'\) at position 1"):
        sampled_symbols(file, of_corpus, "ab", 50, 4, Strategy(), 7)


def test_held_out_pieces_are_spread_and_as_long_as_the_texts() -> None:
    pieces = held_out(np.arange(100), [np.zeros(10, np.int64)] * 4)
    assert [(piece[0], len(piece)) for piece in pieces] == [(0, 10), (25, 10), (50, 10), (75, 10)]
    assert [len(piece) for piece in held_out(np.arange(30), [np.zeros(20, np.int64)] * 2)] == [15, 15]
    assert sum(map(len, held_out(np.arange(0), [np.zeros(20, np.int64)]))) == 0


@pytest.mark.parametrize("texts", [[], [np.zeros(5, np.int64)] * 2])
def test_nothing_to_compare_with(texts: list[Any]) -> None:
    """Neither without texts, nor with fewer held-out symbols than texts."""
    assert novelty.compare(texts, np.zeros(100, np.uint8), np.zeros(1, np.uint8), 5, 3).usual is None


def test_symbols_are_those_of_the_corpus() -> None:
    assert to_symbols("the é", VOCABULARY).tolist() == [*ids("the "), VOCABULARY.size]
    of_bytes = Vocabulary("bytes", [0xC3, 0xA9, 0x61])
    assert to_symbols("aéb", of_bytes).tolist() == [2, 0, 1, 3]
    assert to_symbols("aé".encode(), of_bytes).tolist() == [2, 0, 1]


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
