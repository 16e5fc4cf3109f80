"""Text for a terminal: control characters as escapes, and paths for a shell."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.utils.terminal import counted, quoted, visible, visible_name, visible_pieces, wrapped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        ("a\x9b31mb\x7f\0", r"a\x9b31mb\x7f\x00"),
        ("one\r\ntwo\tthree\n", "one\r\ntwo\tthree\n"),
        ("one\rtwo\r", r"one\rtwo\r"),
        ("caf\udce9 \ud800", r"caf\xe9 \ud800"),
        ("é漢\u2028 \\x1b", "é漢\u2028 \\x1b"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert "".join(visible_pieces(text)) == shown


@given(st.lists(st.text("\r\n\x1ba", max_size=4)))
def test_pieces_are_escaped_as_the_whole(pieces: list[str]) -> None:
    assert "".join(visible_pieces(pieces)) == visible("".join(pieces))


def test_a_name_is_one_line() -> None:
    assert visible_name("a\nb\t\x1b\u2028\ufeffé\udcff") == r"a\nb\t\x1b\u2028\ufeffé\xff"


def test_lines_are_broken_at_words_and_go_on_below_what_follows_a_label() -> None:
    assert wrapped("  best loss   1.5 nats, 2.2 bits, at step 1\none two\n\n    three four", 30) == (
        "  best loss   1.5 nats, 2.2\n              bits, at step 1\none two\n\n    three four"
    )
    assert wrapped("one two three", 8) == "one two\nthree"
    assert wrapped("漢字漢字 漢字", 8) == "漢字漢字\n漢字"


@pytest.mark.parametrize("path", ["runs/my book (1)", "it's", "-x", "$(ls)", "a\nb"])
def test_a_quoted_path_is_one_word_and_no_option(path: str) -> None:
    words = shlex.split(quoted(path))
    assert words == [path if path != "-x" else "./-x"]


def test_things_are_counted() -> None:
    assert [counted(number, "thread") for number in (1, 2)] == ["1 thread", "2 threads"]
