"""Texts written with the characters that are at hand."""

from __future__ import annotations

import pytest

from char_rnn.generation.nearest import nearest_text


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
