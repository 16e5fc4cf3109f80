"""How a text is read that has characters the vocabulary lacks."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary, VocabularyKind
from char_rnn.generation.generation_state import GenerationState, StopText
from char_rnn.generation.sampler import drawable_symbols
from char_rnn.generation.unknown_characters import (
    Spelling,
    Unknown,
    canonical,
    default_prime,
    fitted,
    knowing,
    nearest_text,
    spelled,
)
from char_rnn.sampling.options import Strategy

KOREAN = "한국어 é"


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def read(known: str, text: str, unknown: Unknown = "nearest", kind: VocabularyKind = "characters") -> Spelling:
    return spelled(Vocabulary.from_text(known, kind), text, unknown)


@pytest.mark.parametrize("unknown", ["error", "skip", "nearest"])
@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_the_other_normal_form_is_the_same_text(kind: VocabularyKind, unknown: Unknown) -> None:
    for known, other, form in ((KOREAN, decomposed(KOREAN), "NFC"), (decomposed(KOREAN), KOREAN, "NFD")):
        spelling = read(known, other, unknown, kind)
        assert (spelling.text, spelling.form, spelling.substitutions) == (known, form, {})
        assert spelling.remark() == f"read in the normal form {form}"
        same = read(known, known, unknown, kind)
        assert (same.text, same.form, same.remark()) == (known, None, "")
        assert spelling.indices.tolist() == same.indices.tolist()


def test_a_form_is_taken_where_it_makes_fewer_characters_unknown() -> None:
    assert read("é한", decomposed("é한") + "漢").remark() == (
        "read in the normal form NFC; skipped unknown characters: '漢'"
    )
    assert read("e\u0301", "é\N{SNOWMAN}").text == "e\u0301"
    spelling = read("abc", "é")  # in neither form
    assert (spelling.form, spelling.text, spelling.substitutions) == (None, "", {"é": ""})
    spelling = read("é e", "e\u0301 e\u0301 x")  # all of the text is read in one form
    assert (spelling.text, spelling.substitutions) == ("é é ", {"x": ""})


def test_a_text_in_no_form_is_an_error_that_names_the_character_given() -> None:
    with pytest.raises(UnknownCharacterError, match=r"U\+0301\) at position 1"):
        read("eé", "e\u0301漢", "error")


@pytest.mark.parametrize(
    ("known", "text", "expected"),
    [
        ("a\n", "a\r\na\ra\u2028", "a\na\na\n"),
        ("a\r", "a\r\na\na", "a\ra\ra"),
        ("a\u2028", "a\r\na\n\n", "a\u2028a\u2028\u2028"),
        ("a\r\n", "a\r\na\n", "a\r\na\n"),
        ("a", "a\r\na", "aa"),
    ],
)
def test_a_line_end_of_windows_is_one(known: str, text: str, expected: str) -> None:
    assert read(known, text).text == expected


def test_how_much_is_read_after_each_character() -> None:
    assert read("abé\n", "a\r\nb\N{SNOWMAN}\u00c9").ends.tolist() == [1, 1, 2, 3, 3, 4]
    assert read(KOREAN, decomposed("한 é")).ends.tolist() == [0, 0, 1, 2, 2, 3]
    assert read(decomposed(KOREAN), "한 é").ends.tolist() == [3, 4, 6]
    assert read("aé", "aé…é", "skip", "bytes").ends.tolist() == [1, 3, 3, 5]
    assert read("a", "").ends.tolist() == []


TEXTS = st.text(st.characters() | st.sampled_from("ab\r\n\u0301é\u1112\u1161\ud800"), max_size=8)
VOCABULARIES = (
    Vocabulary.from_text("abé\n한"),
    Vocabulary.from_text("ae\u0301\r"),
    Vocabulary.from_text("aé", "bytes"),
)


@given(TEXTS, st.sampled_from(["skip", "nearest"]))
def test_every_character_is_accounted_for(text: str, unknown: Unknown) -> None:
    for symbols in VOCABULARIES:
        spelling = spelled(symbols, text, unknown)
        assert "".join(given for given, _ in spelling.pieces) == text
        assert len(spelling.ends) == len(text)
        assert (np.diff(spelling.ends, prepend=0) >= 0).all()
        assert len(spelling.indices) == (spelling.ends[-1] if text else 0)
        if spelling.form is not None:  # piece by piece as all at once
            formed = "".join(unicodedata.normalize(spelling.form, given) for given, _ in spelling.pieces)
            assert formed == unicodedata.normalize(spelling.form, text)


def test_marks_without_end_are_normalized_in_pieces() -> None:
    pieces = read("á", "a" + "\u0301\u0323" * 20_000).pieces
    assert max(len(given) for given, _ in pieces) == 32


def test_what_was_not_read_as_given_is_said_once_each() -> None:
    spelling = read("ab'", "A’b’B漢字漢")
    assert spelling.substitutions == {"A": "a", "’": "'", "B": "b", "漢": "", "字": ""}
    assert spelling.remark() == ("read 'A' as 'a', '’' as \"'\", 'B' as 'b'; skipped unknown characters: '漢' '字'")


def test_bytes_that_are_not_utf8_are_named_as_bytes() -> None:
    text = b"a\xff\x80b".decode("utf-8", "surrogateescape")
    assert read("ab", text, kind="bytes").remark() == "skipped unknown characters: byte 0xFF byte 0x80"


def test_changes_are_counted_in_characters() -> None:
    assert read("ab'\n", "A’b’B漢字漢\r\n").count() == (5, 3)
    assert read("é", decomposed("éé")).count() == (0, 0)
    assert read("ab", "ab").count() == (0, 0)


@pytest.mark.parametrize(
    ("known", "prime", "expected"),
    [
        ("a\n", "\n", "\n"),
        ("a\r", "\n", "\r"),
        ("a\u2028", "\n", "\u2028"),
        ("a, b", "\n", ""),
        ("ab", "Äx", "a"),
        ("a", "", ""),
    ],
)
def test_a_default_prime_is_made_of_what_there_is(known: str, prime: str, expected: str) -> None:
    found, remark = default_prime(Vocabulary.from_text(known), prime)
    assert found == expected
    assert bool(remark) == (expected != prime)
    assert not remark or f"{prime!r} is not in the vocabulary: beginning with {expected!r}" in remark


@pytest.mark.parametrize(
    ("known", "text", "expected"),
    [
        ("aé\n", "ae\u0301\r\nÉ“\u2028", "aé\nÉ“\n"),
        ("aé\r", "a\r\na\n", "a\ra\r"),
        ("ab\r\n", "a\r\nx\n", "a\r\nx\n"),
        ("ab", "a\r\n", "a\r\n"),
    ],
)
def test_a_text_that_is_compared_keeps_its_characters(known: str, text: str, expected: str) -> None:
    assert fitted(Vocabulary.from_text(known), text) == expected


def test_stop_texts_and_banned_characters_are_looked_for_in_the_models_form() -> None:
    symbols = Vocabulary.from_text("aeé")
    state = GenerationState(symbols, "", 9, stop="e\u0301", seed=1)
    for index in symbols.encode("aéa").tolist():
        if not state.done:
            state.take(index)
    assert (state.text(), state.stopped) == ("a", True)
    assert StopText(["e\u0301", "x"], vocabulary=symbols).stops == ("é", "x")
    assert drawable_symbols(Strategy(banned="e\u0301"), symbols).tolist() == [True, True, False]
    assert drawable_symbols(Strategy(allowed="e\u0301"), symbols).tolist() == [False, False, True]
    split = Vocabulary.from_text("ae\u0301")
    assert drawable_symbols(Strategy(banned="é"), split).all()  # it is not a symbol there
    assert canonical(split, "é") == "e\u0301"
    assert canonical(split, "x") == "x"


def near(text: str, characters: str) -> str:
    return nearest_text(text, lambda piece: set(piece) <= set(characters))


@pytest.mark.parametrize(
    ("text", "characters", "expected"),
    [
        ("Hello", "helo", "hello"),
        ("hello", "HELO", "HELLO"),
        ("Été", "etE", "Ete"),
        ("Été", "eté", "été"),
        ("été", "ETÉ", "ÉTÉ"),
        ("naïve", "navie", "naive"),
        ("“don’t” — he", "\"don't- he", '"don\'t" - he'),
        ('it\'s "so" -', "it’s “so” –", "it’s “so“ –"),
        ("a…b", "ab.", "a...b"),
        ("a\u00a0b\tc", "abc ", "a b c"),
        ("a\r\u2028b", "ab\n", "a\n\nb"),
        ("Straße", "Strase", "Strasse"),
        ("ﬁn, ½", "fin 1/2,", "fin, 1/2"),
        ("x1", "abc", "x1"),
        ("1/2", "12⁄", "1⁄2"),
        ("", "a", ""),
    ],
)
def test_what_stands_for_what(text: str, characters: str, expected: str) -> None:
    assert near(text, characters) == expected


def test_a_character_that_is_there_stays() -> None:
    assert near("Éé’'", "Eeéɛ'’É") == "Éé’'"


def test_an_accent_alone_has_no_neighbour() -> None:
    assert near("\u0301", "abc") == "\u0301"


@given(st.text(st.characters() | st.sampled_from("ab\u00e9\ud800\udc80\udca9\udfff"), max_size=3))
@example("\udc80")
def test_what_is_known_is_what_can_be_encoded(text: str) -> None:
    few = Vocabulary.from_text("ab\u00e9\u6771")
    some_bytes = Vocabulary.from_text("ab\u00e9", "bytes")
    for symbols in (few, some_bytes, Vocabulary("bytes", range(256))):
        try:
            symbols.encode(text)
            encodes = True
        except UnknownCharacterError:
            encodes = False
        assert knowing(symbols)(text) == encodes
