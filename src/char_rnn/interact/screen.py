"""The terminal around a draft, and its keys; `view` draws it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.application import Application
from prompt_toolkit.filters import Condition
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output

from char_rnn.interact import view
from char_rnn.interact.draft import Alternative, Candidate, Draft, Until, save

SLICE = 0.02  # seconds of writing between two checks of the keyboard
ESCAPE_WAIT = 0.1  # seconds after which an escape is a key of its own
PROPOSED = Path("draft.txt")
TEMPERATURE_STEP = 0.05

Action = Callable[[KeyPressEvent], object]


class Screen:
    """A draft in a full-screen terminal.

    The title is the name of the model, ``path`` the draft's own file, if it has one. The model writes ``paragraph``
    symbols on Ctrl-P. Keys and output are those of this terminal by default.

    Attributes:
        note: Message to show.
        selected: The marked one of the likeliest characters, or of the choices.
        choices: The continuations shown, if any.
        name: The file name being typed; ``None`` if none is.
        offered: Whether that is a proposed name, which the first typed character replaces.
        back: Number of symbols between the end of the view and the end of the text.
        ended_by: The signal that ended the program; ``None`` if none did.
        left: Number of segments that the model is about to learn from.
    """

    def __init__(
        self,
        draft: Draft,
        title: str,
        *,
        paragraph: int = 200,
        path: Path | None = None,
        terminal_input: Input | None = None,
        terminal_output: Output | None = None,
    ) -> None:
        self.draft, self.title, self.paragraph, self.path = draft, title, paragraph, path
        self.note = _unknown(draft.notes)
        self.selected = self.back = self.left = 0
        self.choices: list[Alternative] = []
        self.name: str | None = None
        self.offered = False
        self.ended_by: int | None = None
        self._writing: Generator[str, None, None] | None = None
        self._learning: Iterator[int] | None = None
        self._replacing: str | None = None
        self._notes: list[str] = []
        self.application: Application[None] = Application(
            layout=view.layout(self),
            key_bindings=bindings(self),
            full_screen=True,
            style=view.STYLE,
            input=terminal_input,
            output=terminal_output,
            color_depth=ColorDepth.DEPTH_1_BIT if view.is_plain() else None,
        )
        self.application.ttimeoutlen = self.application.timeoutlen = ESCAPE_WAIT

    @property
    def is_writing(self) -> bool:
        """Whether the model is writing."""
        return self._writing is not None

    def run(self) -> None:
        """Show the draft until the person leaves, the terminal is closed, or an error occurs.

        Raises:
            Exception: The error. The draft has everything written so far.
        """
        self.application.run(pre_run=self._watch, handle_sigint=False)

    def leave(self) -> None:
        """End the program."""
        self.stop()
        if self.application.is_running and not self.application.is_done:
            self.application.exit()

    def interrupt(self) -> None:
        """Stop the model, or else end the program."""
        if self.is_writing:
            self.stop()
        else:
            self.leave()

    def attempt(self, action: Callable[[], object]) -> None:
        """Stop the model and run a key's action: a `ValueError` becomes a message, another error ends the program."""
        self.stop()
        self._try(action)
        self._learn_on()

    def type(self, text: str) -> None:
        """Add typed text; unknown characters in a row are all named."""
        if text:
            notes = self.draft.type(text)
            notes = list(dict.fromkeys([*self._notes, *notes])) if notes else []
            self._changed()
            self._notes, self.note = notes, _unknown(notes)

    def erase(self, *, word: bool = False) -> None:
        """Remove a character or a word."""
        self._changed()
        self.draft.erase(word=word)

    def undo(self) -> None:
        """Undo a step."""
        self._changed()
        self.note = "" if self.draft.undo() else "nothing to undo"

    def redo(self) -> None:
        """Redo a step."""
        self._changed()
        self.note = "" if self.draft.redo() else "nothing to redo"

    def proceed(self, until: Until) -> None:
        """Let the model write, while keys are read."""
        self._changed()
        self._writing = self.draft.proceed(until)
        self.application.create_background_task(self._write(self._writing))

    def stop(self) -> None:
        """Stop the model; the text so far remains."""
        self._learning, self.left = None, 0
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def likeliest(self) -> list[Candidate]:
        """The likeliest next characters, as many as are shown; none if the model's predictions are not numbers."""
        try:
            return self.draft.likeliest(view.ROWS)
        except ValueError:
            return []

    def turn(self, step: float) -> None:
        """Change the temperature."""
        self.draft.temperature += step
        self.selected = 0

    def move(self, step: int) -> None:
        """Mark the next or the previous one."""
        among = len(self.choices) or len(self.likeliest())
        self.selected = (self.selected + step) % max(1, among)

    def pick(self, place: int) -> None:
        """Add one of the choices shown, or else of the likeliest characters."""
        choices, likeliest = self.choices, self.likeliest()
        if place < len(choices):
            self.draft.accept(choices[place])
        elif not choices and place < len(likeliest):
            self.draft.choose(likeliest[place].symbol)
        self._changed()

    def offer(self) -> None:
        """Show several continuations, different ones each time."""
        self._changed()
        self.choices = self.draft.alternatives()

    def put_away(self) -> None:
        """Close the choices and the file name."""
        self._changed()
        self.name = None

    def scroll(self, pages: int) -> None:
        """Move the view back in the text, or forward."""
        columns, rows = view.size(self)
        self.back = min(max(0, self.back + pages * columns * rows // 3), len(self.draft))

    def ask_name(self) -> None:
        """Ask for the file to save to."""
        self._changed()
        self.name, self.offered = str(self.path or PROPOSED), True

    def spell(self, text: str, erase: int = 0) -> None:
        """Change the end of the file name; the first typed character replaces a proposed name."""
        typed = "".join(filter(str.isprintable, text))
        name = "" if self.offered and typed else self.name or ""
        self.name, self.offered = name[: len(name) - erase] + typed, self.offered and not (typed or erase)

    def submit(self) -> None:
        """Save under the file name; an existing file that is not the draft's own needs a second Enter."""
        name, self.name = (self.name or "").strip(), None
        if not name:
            return
        try:
            path = Path(name).expanduser()
            if path.exists() and path != self.path and self._replacing != name:
                self.name = self._replacing = name
                self.note = "exists; press Enter again to replace it"
                return
            save(self.draft.text, path)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.name, self.note = name, f"not saved: {reason.lower()}"
            return
        self.path, self.note = path, f"saved {name}"

    def _changed(self) -> None:
        self.selected = self.back = 0
        self.choices = []
        self._notes = []

    def _try(self, action: Callable[[], object]) -> None:
        self.note = ""
        try:
            action()
        except ValueError as error:
            self.stop()
            self.note = str(error)
        except Exception as error:
            self.application.exit(exception=error)

    async def _write(self, writing: Generator[str, None, None]) -> None:
        def go_on() -> None:
            until = time.monotonic() + SLICE
            while time.monotonic() < until:
                if next(writing, None) is None:
                    self._writing = None
                    return

        while writing is self._writing:
            self._try(go_on)
            self.application.invalidate()
            await asyncio.sleep(0)
        self._learn_on()

    def _learn_on(self) -> None:
        """Let the model learn between two keys, if there is something to learn."""
        if self.draft.is_behind and not self.is_writing and self.application.is_running:
            self._learning = self.draft.catch_up()
            self.application.create_background_task(self._learn(self._learning))

    async def _learn(self, learning: Iterator[int]) -> None:
        while learning is self._learning:
            try:
                self.left = next(learning, 0)
            except Exception as error:
                self.application.exit(exception=error)
                return
            self._learning = learning if self.left else None
            self.application.invalidate()
            await asyncio.sleep(0)

    def _watch(self) -> None:
        """Leave normally when the terminal is closed and at SIGTERM; a signal that the parent ignores stays ignored."""

        def end(number: int) -> None:
            self.ended_by = number
            self.leave()

        for number in [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]:
            if signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(NotImplementedError, RuntimeError, ValueError):  # not everywhere
                    asyncio.get_running_loop().add_signal_handler(number, end, number)


def _unknown(notes: list[str]) -> str:
    return f"unknown to the model: {', '.join(notes)}" if notes else ""


def bindings(screen: Screen) -> KeyBindings:
    """The keys of a screen. Each stops the model first."""
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
    """The character of a key; empty for unbound keys and for reports of the terminal."""
    key = event.key_sequence[0].key
    return "" if isinstance(key, Keys) else event.data
