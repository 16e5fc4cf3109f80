"""Vocabularies given as plain mappings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation.symbols import CharacterMap, as_symbols, knowing


def test_any_order_of_characters() -> None:
    symbols = CharacterMap({"z": 0, "a": 1, "\n": 2}, {2: "\n", 1: "a", 0: "z"})
    assert symbols.size == 3
    assert symbols.encode("a\nza").tolist() == [1, 2, 0, 1]
    assert symbols.decoder().decode([1, 2, 0]) == "a\nz"
    assert CharacterMap({"z": 0, "a": 1}, ["z", "a"]).decode([0]) == "z"
    assert CharacterMap({"z": 0, "a": 1}).decode([1]) == "a"


def test_unknown_characters_are_named() -> None:
    with pytest.raises(UnknownCharacterError) as caught:
        CharacterMap({"a": 0}).encode("aab")
    assert (caught.value.character, caught.value.position) == ("b", 2)


@pytest.mark.parametrize("mapping", [{}, {"a": 1}, {"a": 0, "b": 0}, {"a": 0, "b": 2}, {"a": -1, "b": 0}])
def test_indices_that_are_not_0_to_v(mapping: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^char_to_idx: must not be empty|^char_to_idx: indices must be 0 to "):
        CharacterMap(mapping)


@pytest.mark.parametrize("inverse", [{0: "b", 1: "a"}, ["a"], {0: "a", 1: "b", 2: "c"}])
def test_inverses_that_are_none(inverse: Any) -> None:
    with pytest.raises(ValueError, match=r"^idx_to_char: must be the inverse of char_to_idx; leave it out"):
        CharacterMap({"a": 0, "b": 1}, inverse)


def test_a_vocabulary_stays_itself() -> None:
    vocabulary = Vocabulary.from_text("ab")
    assert as_symbols(vocabulary, None) is vocabulary


@given(st.text(st.characters() | st.sampled_from("ab\u00e9\ud800\udc80\udca9\udfff"), max_size=3))
@example("\udc80")
def test_what_is_known_is_what_can_be_encoded(text: str) -> None:
    few = Vocabulary.from_text("ab\u00e9\u6771")
    some_bytes = Vocabulary.from_text("ab\u00e9", "bytes")
    for symbols in (few, some_bytes, Vocabulary("bytes", range(256)), CharacterMap({"a": 0})):
        try:
            symbols.encode(text)
            encodes = True
        except UnknownCharacterError:
            encodes = False
        assert knowing(symbols)(text) == encodes
