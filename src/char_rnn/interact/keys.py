"""Which key does what in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from char_rnn.interact.screen import Screen

Action = Callable[[KeyPressEvent], object]
TEMPERATURE_STEP = 0.05


def bindings(screen: Screen) -> KeyBindings:
    """Return the keys of a screen. Each ends the model's writing first."""
    keys = KeyBindings()
    naming = Condition(lambda: screen.name is not None)
    choosing = Condition(lambda: bool(screen.choices)) & ~naming
    for actions, when in ((_writing(screen), ~naming), (_choosing(screen), choosing), (_naming(screen), naming)):
        for names, action in actions.items():
            for name in names.split(", "):
                keys.add(*name.split(), filter=when)(_handler(screen, action))
    keys.add("c-q")(_handler(screen, lambda _: screen.leave()))
    keys.add("c-c")(lambda _: screen.interrupt())
    return keys


def _handler(screen: Screen, action: Action) -> Callable[[KeyPressEvent], None]:
    return lambda event: screen.attempt(lambda: action(event))


def _writing(screen: Screen) -> dict[str, Action]:
    actions: dict[str, Action] = {
        "<any>": lambda event: screen.type(_typed(event)),
        "<bracketed-paste>": lambda event: screen.type(event.data.replace("\r\n", "\n").replace("\r", "\n")),
        "enter": lambda _: screen.type("\n"),
        "backspace": lambda _: screen.erase(),
        "c-w, escape backspace": lambda _: screen.erase(word=True),
        "tab": lambda _: screen.proceed("word"),
        "c-e, c-j, escape enter": lambda _: screen.proceed("line"),
        "c-p": lambda _: screen.proceed(screen.paragraph),
        "c-n": lambda _: screen.offer(),
        "c-z": lambda _: screen.undo(),
        "c-y": lambda _: screen.redo(),
        "f7, c-down, escape -": lambda _: screen.turn(-TEMPERATURE_STEP),
        "f8, c-up, escape +, escape =": lambda _: screen.turn(TEMPERATURE_STEP),
        "up": lambda _: screen.move(-1),
        "down": lambda _: screen.move(1),
        "right": lambda _: screen.pick(screen.selected),
        "escape": lambda _: None,
        "pageup": lambda _: screen.scroll(1),
        "pagedown": lambda _: screen.scroll(-1),
        "c-s": lambda _: screen.ask_name(),
    }
    return actions | {f"escape {digit}": _picking(screen, digit) for digit in range(1, 10)}


def _choosing(screen: Screen) -> dict[str, Action]:
    actions: dict[str, Action] = {
        "enter": lambda _: screen.pick(screen.selected),
        "escape": lambda _: screen.put_away(),
    }
    return actions | {str(digit): _picking(screen, digit) for digit in range(1, 10)}


def _naming(screen: Screen) -> dict[str, Action]:
    return {
        "<any>": lambda event: screen.spell(_typed(event)),
        "<bracketed-paste>": lambda event: screen.spell(event.data),
        "backspace": lambda _: screen.spell("", erase=1),
        "c-u, c-w": lambda _: screen.spell("", erase=len(screen.name or "")),
        "enter": lambda _: screen.submit(),
        "escape": lambda _: screen.put_away(),
    }


def _picking(screen: Screen, digit: int) -> Action:
    return lambda _: screen.pick(digit - 1)


def _typed(event: KeyPressEvent) -> str:
    """Return the character of a key; of keys that are not bound, and of what terminals report, nothing."""
    key = event.key_sequence[0].key
    return "" if isinstance(key, Keys) else event.data
