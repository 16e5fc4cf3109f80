"""The terminal's view of a draft: the text, the likeliest characters, the choices, a status line and the keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import ConditionalContainer, FormattedTextControl, HSplit, Layout, VSplit, Window
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Char, WritePosition
from prompt_toolkit.layout.screen import Screen as Canvas
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from char_rnn.utils.terminal import wrapped

if TYPE_CHECKING:
    from char_rnn.interact.screen import Screen

ROWS = 20  # of likeliest characters
PANEL, BAR = 26, 11  # columns
NARROW, LOW = 60, 12  # columns and rows below which there is room for the text only
BEFORE, AFTER = 20_000, 4_000  # symbols drawn around the end of the view
STYLE = Style.from_dict(
    {"typed": "bold", "drawn": "", "waiting": "underline", "selected": "reverse", "offered": "noreverse",
     "bar": "ansiblue", "dim": "ansibrightblack"}
)  # fmt: skip
HELP_ROWS = 2
# The keys, and their rank: a narrow terminal shows those with the lowest.
HELP = {
    "Tab word": 3, "Ctrl-E line": 7, "Ctrl-P more": 4, "Ctrl-N choices": 8, "Up Down Right, Alt-1: pick": 9,
    "Ctrl-Z undo": 6, "Ctrl-Y redo": 11, "F7 F8 temperature": 10, "Esc stop": 5, "Ctrl-S save": 2, "Ctrl-Q quit": 1,
}  # fmt: skip
HELP_CHOOSING = {"Up Down choose": 3, "Enter or 1 to 5 accept": 1, "Ctrl-N others": 4, "Esc back": 2}
HELP_NAMING = {"Enter save": 1, "Esc back": 2}
_SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}
_PLAIN_SIGNS = {" ": "_", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class TextWindow(Window):
    """A window that shows combining marks at the end of a line.

    prompt_toolkit adds a mark to the character before it, and also leaves it in the next cell until that cell gets
    another character. A cell without width shifts everything drawn later in the line.
    """

    def write_to_screen(
        self,
        screen: Canvas,
        mouse_handlers: MouseHandlers,
        write_position: WritePosition,
        parent_style: str,
        erase_bg: bool,
        z_index: int | None,
    ) -> None:
        """Draw the window."""
        super().write_to_screen(screen, mouse_handlers, write_position, parent_style, erase_bg, z_index)
        for y in range(write_position.ypos, write_position.ypos + write_position.height):
            row = screen.data_buffer[y]
            for x, cell in list(row.items()):
                if cell.char and not cell.width:
                    row[x] = Char(" ", cell.style)


def layout(screen: Screen) -> Layout:
    """Arrange the parts of the screen."""
    text = TextWindow(FormattedTextControl(lambda: text_of(screen), focusable=True, show_cursor=True), wrap_lines=True)
    edge = Window(width=1, char=lambda: "│" if _is_unicode(screen) else "|")
    panel = VSplit([edge, _part(lambda: likeliest_of(screen))], width=PANEL)
    parts = [
        VSplit([text, ConditionalContainer(panel, Condition(lambda: size(screen)[0] >= NARROW))]),
        ConditionalContainer(
            HSplit([_part(lambda: choices_of(screen), dont_extend=True)]), Condition(lambda: bool(screen.choices))
        ),
        HSplit([_part(lambda: status_of(screen), style="reverse", dont_extend=True)], height=lambda: _rows(screen)),
        ConditionalContainer(
            HSplit([_part(lambda: help_of(screen), style="class:dim")], height=HELP_ROWS),
            Condition(lambda: size(screen)[1] >= LOW),
        ),
    ]
    return Layout(HSplit(parts), focused_element=text)


def text_of(screen: Screen) -> StyleAndTextTuples:
    """The text around the end of the view, with typed text in bold."""
    end = len(screen.draft) - screen.back
    before = screen.draft.stretches(max(0, end - BEFORE), end)
    after = screen.draft.stretches(end, end + AFTER)
    waiting = [] if screen.back else screen.draft.waiting()
    bytes_ = [(f"{_stretch((name, drawn))[0]} class:waiting", name) for name, drawn in waiting]
    return [*map(_stretch, before), *bytes_, ("[SetCursorPosition]", ""), *map(_stretch, after), ("", " ")]


def likeliest_of(screen: Screen) -> StyleAndTextTuples:
    """The likeliest next characters with bars of their probabilities, one of them marked."""
    fragments: StyleAndTextTuples = [("class:dim", f" next, at {screen.draft.temperature:.2f}\n")]
    for place, candidate in enumerate(screen.likeliest()):
        number = str(place + 1) if place < 9 else " "
        chosen = place == screen.selected and not screen.choices
        row = f" {number} {_padded(_sign(screen, candidate.text), 4)} {candidate.probability:6.1%} "
        fragments += [
            ("class:selected" if chosen else "", row),
            ("class:bar", f"{_bar(screen, candidate.probability)}\n"),
        ]
    return fragments


def choices_of(screen: Screen) -> StyleAndTextTuples:
    """The choices, one in each row."""
    fragments: StyleAndTextTuples = []
    for place, choice in enumerate(screen.choices):
        text = "".join(character if character == " " else _sign(screen, character) for character in choice.text)
        style = "class:selected" if place == screen.selected else ""
        fragments.append((style, f" {place + 1} {text} " + "\n" * (place + 1 < len(screen.choices))))
    return fragments


def status_of(screen: Screen) -> StyleAndTextTuples:
    """The temperature with a message or the length of the text; or the file name."""
    if screen.name is not None:
        note = f"  ({screen.note})" if screen.note else ""
        return [("", " save as: "), ("class:offered" if screen.offered else "", screen.name), ("", f"_{note}")]
    length = f"{len(screen.draft):,} {screen.draft.unit}s"
    learning = f"  learning, {screen.left} steps left" if screen.left else "  learns" if screen.draft.learns else ""
    idle = screen.note or f"{length}  {screen.title}"
    what = f"writing, {length}, Esc stops" if screen.is_writing else idle + learning
    return [("", wrapped(f" temperature {screen.draft.temperature:.2f}  {what}", size(screen)[0]))]


def help_of(screen: Screen) -> StyleAndTextTuples:
    """The keys that work now; in a narrow terminal the most important ones."""
    keys = HELP_NAMING if screen.name is not None else HELP_CHOOSING if screen.choices else HELP
    for rank in range(len(keys), 0, -1):
        rows = _flowed([key for key in keys if keys[key] <= rank], size(screen)[0])
        if len(rows) <= HELP_ROWS:
            break
    return [("", "\n".join(rows))]


def size(screen: Screen) -> tuple[int, int]:
    """Columns and rows of the terminal."""
    found = screen.application.output.get_size()
    return found.columns, found.rows


def is_plain() -> bool:
    """Whether colours are turned off; see https://no-color.org."""
    return bool(os.environ.get("NO_COLOR"))


def _part(text: Callable[[], StyleAndTextTuples], style: str = "", *, dont_extend: bool = False) -> Window:
    return Window(FormattedTextControl(text), style=style, dont_extend_height=dont_extend)


def _rows(screen: Screen) -> int:
    """Rows of the status: one, or more for a long message."""
    text = "".join(fragment[1] for fragment in status_of(screen))
    return min(text.count("\n") + 1, max(1, size(screen)[1] // 2))


def _flowed(keys: Iterable[str], columns: int) -> list[str]:
    rows: list[str] = []
    for key in keys:
        if rows and len(rows[-1]) + 2 + len(key) <= columns:
            rows[-1] += f"  {key}"
        else:
            rows.append(key)
    return rows


def _stretch(stretch: tuple[str, bool]) -> tuple[str, str]:
    text, drawn = stretch
    return "class:drawn" if drawn else "class:typed", text.replace("\t", "    ")


def _sign(screen: Screen, character: str) -> str:
    """A replacement for a character that is not visible or would be drawn over another."""
    unicode = _is_unicode(screen)
    signs = _SIGNS if unicode else _PLAIN_SIGNS
    if character in signs:
        return signs[character]
    if not character.isprintable():
        return f"{ord(character):02X}"
    if get_cwidth(character) == 0:
        return f"◌{character}" if unicode else f"+{character}"
    return character


def _bar(screen: Screen, share: float) -> str:
    eighths = round(share * BAR * 8)
    if not _is_unicode(screen):
        return "#" * round(share * BAR)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - get_cwidth(text))


def _is_unicode(screen: Screen) -> bool:
    return "utf" in (screen.application.output.encoding() or "").lower()
