"""The stop text never shows, nor anything after it, however the pieces fall."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.generation_state import StopText

letters = st.text(alphabet="ab", max_size=30)


def feed_all(stop_text: StopText, pieces: list[str]) -> str:
    shown = ""
    for piece in pieces:
        shown += stop_text.feed(piece)
        if stop_text.found:
            return shown
    return shown + stop_text.rest()


@settings(deadline=None)
@given(st.lists(letters), st.text(alphabet="ab", min_size=1, max_size=5))
def test_the_text_ends_before_the_first_stop(pieces: list[str], stop: str) -> None:
    stop_text = StopText(stop)
    whole = "".join(pieces)
    assert feed_all(stop_text, pieces) == whole.partition(stop)[0]
    assert stop_text.found == (stop in whole)


@settings(deadline=None)
@given(st.lists(letters), st.lists(st.text(alphabet="ab", min_size=1, max_size=5), min_size=1, max_size=3))
def test_a_text_may_end_with_the_first_stop_and_nothing_is_held_back(pieces: list[str], stops: list[str]) -> None:
    stop_text, whole, passed = StopText(stops, keep=True), "".join(pieces), ""
    ends = [whole.index(stop) + len(stop) for stop in stops if stop in whole]
    for piece in pieces:
        if not stop_text.found:
            passed += stop_text.feed(piece)
            assert stop_text.found or whole.startswith(passed)
    assert passed == whole[: min(ends, default=len(whole))]
    assert (stop_text.found, stop_text.rest()) == (bool(ends), "")


@settings(deadline=None)
@given(letters, st.text(alphabet="ab", min_size=1, max_size=5))
def test_only_a_possible_beginning_is_held_back(text: str, stop: str) -> None:
    stop_text = StopText(stop)
    shown = "".join(stop_text.feed(character) for character in text.partition(stop)[0])
    held = text.partition(stop)[0].removeprefix(shown)
    assert stop.startswith(held)
    assert len(held) < len(stop)


def test_by_hand() -> None:
    stop_text = StopText("END")
    assert [stop_text.feed(piece) for piece in ("a", "E", "N", "x", "EE", "N")] == ["a", "", "", "ENx", "E", ""]
    assert not stop_text.found
    assert stop_text.feed("D more") == ""
    assert stop_text.found
    assert stop_text.rest() == ""


def test_no_stop_text_holds_nothing_back() -> None:
    stop_text = StopText(None)
    assert stop_text.feed("abc") == "abc"
    assert stop_text.rest() == ""
    assert not stop_text.found


def test_an_empty_stop_text_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^stop: must be a text of at least one character, or None to write the"):
        StopText("")


@pytest.mark.parametrize(
    ("characters", "written"),
    [("ab\r", "a\rb"), ("ab\x85", "a\x85b"), ("ab\u2028", "a\u2028b"), ("ab\r\u2028", "a\rb"), ("ab\n\r", "a\nb")],
)
def test_a_line_ends_as_the_vocabulary_has_it(characters: str, written: str) -> None:
    for order in (1, -1):
        vocabulary = Vocabulary("characters", map(ord, characters[::order]))
        assert StopText(None, True, vocabulary).feed(written) == "a"
        assert StopText("b", False, vocabulary).feed(written) == written[:2]
    assert Vocabulary.from_text(characters).line_end == written[1]
    assert StopText(None, True, Vocabulary.from_text("a, b")).stops == ()
    assert Vocabulary.from_text("aé\x85", "bytes").line_end is None


@settings(deadline=None)
@given(st.lists(letters), st.lists(st.text(alphabet="ab", min_size=1, max_size=6), min_size=1, max_size=4))
def test_of_several_the_first_complete_and_the_longest_of_these(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    found = [(whole.index(stop) + len(stop), whole.index(stop)) for stop in stops if stop in whole]
    assert feed_all(StopText(stops), pieces) == (whole[: min(found)[1]] if found else whole)


def test_a_character_costs_no_more_where_stop_texts_are_long() -> None:
    """The looks at the stop texts are counted."""

    class Counted(str):
        compared = 0

        def __getitem__(self, place: object) -> str:
            Counted.compared += 1
            return super().__getitem__(place)  # type: ignore[index]

    stop_text = StopText(["b" + "a" * 999, "a" * 999 + "b"])
    stop_text.stops = tuple(map(Counted, stop_text.stops))
    for _ in range(3000):
        stop_text.feed("a")
    assert Counted.compared < 5 * 3000 * len(stop_text.stops)
