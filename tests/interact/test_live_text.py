"""What an interactive text remembers: enough to undo and do again to the bit, in bounded memory."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_draft import ENGINES, draft, stands, write

from char_rnn.interact.draft import Draft
from char_rnn.interact.text import Point, Trail

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("type"), st.text("ab \né", min_size=1, max_size=4)),
        st.tuples(st.just("proceed"), st.sampled_from(["word", 1, 7, 40])),
        st.tuples(st.just("stopped"), st.integers(0, 5)),
        st.tuples(st.just("erase"), st.booleans()),
        st.tuples(st.just("accept"), st.integers(0, 4)),
        st.tuples(st.just("choose"), st.integers(0, 2)),
        st.tuples(st.just("undo"), st.integers(1, 4)),
        st.tuples(st.just("redo"), st.integers(1, 4)),
    ),
    max_size=8,
)


def act(written: Draft, name: str, value: Any) -> None:
    if name == "type":
        written.type(value)
    elif name == "proceed":
        write(written, value)
    elif name == "stopped":
        pieces = written.proceed(100)
        for _ in range(value):
            next(pieces)
        pieces.close()
    elif name == "erase":
        written.erase(word=value)
    elif name == "accept":
        found = written.alternatives(6)
        written.accept(found[value % len(found)])
    elif name == "choose":
        found = written.likeliest(3)
        written.choose(found[value % len(found)].symbol)
    else:
        for _ in range(value):
            getattr(written, name)()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(ENGINES)), st.sampled_from([0, 1 << 20]), ACTIONS)
def test_undoing_all_and_doing_it_again_is_exact(kind: str, memory: int, actions: list[tuple[str, Any]]) -> None:
    with patch("char_rnn.interact.text.MEMORY", memory):
        written, fresh = draft(kind, prime="ab"), draft(kind)
    for name, value in actions:
        act(written, name, value)
    for letter in written._live.letters:
        fresh._live.read(letter.symbol, drawn=letter.drawn, chosen=letter.chosen)
    assert stands(written) == stands(fresh)
    seen = [stands(written)]
    while written.undo():
        seen.append(stands(written))
    assert stands(written) == stands(draft(kind, prime="ab"))
    for before in reversed(seen[:-1]):
        assert written.redo()
        assert stands(written) == before


def test_memory_is_bounded() -> None:
    with patch("char_rnn.interact.text.MEMORY", 0):
        written = draft()

    def points() -> int:
        edits = (*written._history._done, *written._history._undone)
        return len(written._live._trail) + sum(len(edit.points) for edit in edits)

    for _ in range(40):
        written.type("ab ")
        write(written, 9)
        written.erase(word=True)
    assert len(written._history._done) == 120
    assert points() <= 3 * 32
    for again in (written.undo, written.redo, written.undo):
        for _ in range(120):
            assert again()
            assert points() <= 5 * 32
    assert written.text == ""


def test_what_was_undone_is_not_read_again() -> None:
    written = draft(prime="ab")
    write(written, 300)
    end = stands(written)
    assert written.undo()
    read = []
    written._live.read = lambda *arguments, **options: read.append(arguments)  # type: ignore[assignment, method-assign]
    assert written.redo()
    assert written.erase()
    assert written.undo()
    assert stands(written) == end
    assert read == []


def test_a_trail_is_sparser_the_farther_back() -> None:
    trail, point = Trail(64, Point((), np.zeros(1))), Point((), np.zeros(1))
    places = [place for place in range(1, 20_000) if place % 500 > 40]
    for place in places:
        trail.add(place, point)
        assert len(trail) <= 64
    for distance in (0, 3, 100, 2000, 10_000):
        place = max(place for place in places if place < 20_000 - distance)
        trail.cut(place)
        assert 0 <= place - trail.last[0] <= 60 + distance / 2
    trail.cut(0)
    assert trail.last[0] == 0
