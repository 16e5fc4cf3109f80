"""What the terminal shows: in any size, without colour, without Unicode, and of characters that do not show."""

from __future__ import annotations

import io
import re

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from test_screen import LETTERS, plain, play, text

from char_rnn.interact import view
from char_rnn.interact.screen import Screen


class Terminal:
    """What a terminal of some size shows: enough of the sequences that are sent for that."""

    def __init__(self, columns: int, rows: int, encoding: str = "utf-8") -> None:
        self.file = io.StringIO()
        size = Size(rows=rows, columns=columns)
        self.output = Vt100_Output(
            self.file, lambda: size, term="xterm", default_color_depth=ColorDepth.DEPTH_8_BIT, enable_cpr=False
        )
        self.output.encoding = lambda: encoding  # type: ignore[method-assign]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 8), (120, 40), (20, 3)])
def test_it_fits_any_terminal(columns: int, rows: int) -> None:
    terminal = Terminal(columns, rows)
    screen = play(("b", text("ab 漢\u0301 ab")), prime="ab 漢\u0301 a", output=terminal.output)
    sent = terminal.file.getvalue()
    assert ("next, at" in sent) == (columns >= view.NARROW)
    assert ("Ctrl-S" in sent) == (rows >= view.LOW)
    assert "temperature" in sent
    assert screen.note == ""


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, list(view.HELP)),
        (50, [key for key, rank in view.HELP.items() if rank <= 8]),
        (20, ["Ctrl-S save", "Ctrl-Q quit"]),
    ],
)
def test_the_keys_to_save_and_leave_stay_in_sight(columns: int, shown: list[str]) -> None:
    rows = plain(view.help_of(play(output=Terminal(columns, 15).output))).splitlines()
    assert re.split("  +", "  ".join(rows)) == shown
    assert max(map(len, rows)) <= columns
    assert len(rows) <= view.HELP_ROWS


def test_all_unknown_characters_are_named_in_rows_of_their_own() -> None:
    characters = "αβγδεζη"
    screen = play(prime=characters, output=Terminal(50, 15).output)
    told = plain(view.status_of(screen))
    assert all(f"'{character}' (U+{ord(character):04X})" in " ".join(told.split()) for character in characters)
    assert max(map(len, told.splitlines())) <= 50
    assert view._rows(screen) == min(len(told.splitlines()), 7)


def test_without_colour_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, depth in (("1", ColorDepth.DEPTH_1_BIT), ("", ColorDepth.DEPTH_8_BIT)):
        monkeypatch.setenv("NO_COLOR", value)
        terminal = Terminal(80, 24)
        assert play(prime="ab", output=terminal.output).application.color_depth == depth
        play(("a", text("aba")), prime="ab", output=terminal.output)
        assert bool(re.search(r"\x1b\[[0-9;]*(3|9)[0-9]", terminal.file.getvalue())) == (not value)


def test_a_terminal_without_unicode_gets_plain_signs() -> None:
    terminal = Terminal(80, 24, "ascii")
    screen = play(("^N", lambda screen: bool(screen.choices)), prime="ab", output=terminal.output)
    shown = plain(view.likeliest_of(screen))
    for sign in ("\\n", "\\t", "_", "+\u0301"):
        assert f" {sign} " in shown
    assert "█" not in shown


def test_a_combining_mark_at_the_end_of_a_line_moves_nothing() -> None:
    screens = []

    def drawn(screen: Screen) -> bool:
        screens.append(screen.application.renderer.last_rendered_screen)
        return screens[-1] is not None

    play(("b", drawn), prime="a\u0301\nab\u0301", output=Terminal(80, 24).output)
    cells = [cell for row in screens[-1].data_buffer.values() for cell in row.values()]
    assert any(cell.char == "a\u0301" and cell.width == 1 for cell in cells)
    assert [cell.char for cell in cells if cell.char and not cell.width] == []


def test_wide_characters_fill_two_columns_of_the_panel() -> None:
    rows = plain(view.likeliest_of(play(prime="ab"))).splitlines()[1:]
    widths = {view.get_cwidth(row[: row.index("%")]) for row in rows}
    assert len(rows) == LETTERS.size
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("character", "sign"),
    [("a", "a"), ("\u0301", "◌\u0301"), ("\ufe0f", "◌\ufe0f"), ("\x07", "07"), ("\u200d", "200D")],
)
def test_what_would_not_show_has_a_sign(character: str, sign: str) -> None:
    assert view._sign(play(output=Terminal(80, 24).output), character) == sign
