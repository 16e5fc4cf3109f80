"""Frequent line beginnings: what is found, and what is too rare to be suggested."""

from __future__ import annotations

import pytest

from char_rnn.data.corpus import Corpus
from char_rnn.data.line_beginnings import EXCERPT, EXCERPTS, frequent_line_beginnings, suggested_primes
from char_rnn.data.vocabulary import Vocabulary

PLAY = "KING RICHARD:\nAnd so to bed.\nAnd then a king\nThe end of it\n  And indented\n\n" * 12


def test_beginnings_differ_in_their_first_words_and_keep_the_space_that_follows() -> None:
    assert frequent_line_beginnings(PLAY) == ["And then a king", "KING RICHARD:", "The end of it"]
    assert frequent_line_beginnings("a\nb\nc\nd\ne\n" * 10) == ["a", "b", "c", "d"]
    assert frequent_line_beginnings("so it is\nSo, it was\n" * 10) == ["So, it was"]
    verses = "".join(f"And {word}\n" for word in map(str, range(40)))
    assert frequent_line_beginnings(verses) == ["And "]


@pytest.mark.parametrize("text", ["", "\n" * 50, "   \n" * 50, "12 345\n" * 50, "\ufffdx\x07\n" * 50, "a b\n" * 9])
def test_nothing_is_suggested_for_lines_without_words_or_too_few_of_them(text: str) -> None:
    assert frequent_line_beginnings(text) == []


def test_a_line_of_its_own_is_not_suggested() -> None:
    names = [f"name{number}\n" for number in range(4000)]
    assert frequent_line_beginnings("".join([*names, *["secret\n"] * 7])) == []
    assert frequent_line_beginnings("".join([*names, *["Mary\n"] * 10])) == ["Mary"]
    assert frequent_line_beginnings("".join([*names, *names, *["Mary\n"] * 15])) == []  # below the share of all lines


def test_words_are_short_and_scripts_without_spaces_have_beginnings_too() -> None:
    assert frequent_line_beginnings(f"{'long' * 20} line\n" * 20) == []
    assert frequent_line_beginnings("one two three four five six\n" * 20) == ["one two three four "]
    lines = [f"我们{character}天\n他在{character}\n" for character in "一二三四五六七八九十大小"]
    assert frequent_line_beginnings("".join(lines)) == ["他在", "我们"]


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_a_long_text_is_read_in_excerpts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Über den Fluss\nnoch ein Wort\n" * 60_000
    vocabulary = Vocabulary.from_text(text, kind)  # type: ignore[arg-type]
    corpus = Corpus("text", vocabulary.encode(text), vocabulary, "")
    read: list[int] = []
    decode = Vocabulary.decode
    monkeypatch.setattr(Vocabulary, "decode", lambda own, ids: read.append(len(ids)) or decode(own, ids))
    assert suggested_primes(corpus.split("train"), vocabulary) == ["Über den Fluss", "noch ein Wort"]
    assert read == [EXCERPT] * EXCERPTS
    assert suggested_primes(corpus.split("val", 1, 0), vocabulary) == []
