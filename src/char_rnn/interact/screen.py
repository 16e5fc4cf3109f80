"""The terminal around a draft. `view` says what is shown, and `keys` which key does what."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.application import Application
from prompt_toolkit.input import Input
from prompt_toolkit.output import ColorDepth, Output

from char_rnn.interact import view
from char_rnn.interact.draft import Alternative, Candidate, Draft, Until, save
from char_rnn.interact.keys import bindings

SLICE = 0.02  # seconds of writing between two looks at the keyboard
ESCAPE_WAIT = 0.1  # seconds after which an escape is a key of its own
PROPOSED = Path("draft.txt")


class Screen:
    """A draft in a full-screen terminal.

    Args:
        draft: The text.
        title: What to call the model.
        paragraph: Symbols that the model writes when it is asked for more.
        path: The file that is the draft's own; ``None`` = none yet.
        terminal_input: Where keys come from; ``None`` = this terminal.
        terminal_output: Where to draw; ``None`` = this terminal.

    Attributes:
        note: What there is to tell.
        selected: Which of the likeliest characters, or of the choices, is marked.
        choices: The ways to go on that are on show; mostly none.
        name: The file name being typed; ``None`` while none is.
        offered: Whether that is a name offered, which the first character typed replaces.
        back: How many symbols before the end of the text the view ends.
        ended_by: The signal that ended the program; ``None`` while none has.
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
        self.selected = self.back = 0
        self.choices: list[Alternative] = []
        self.name: str | None = None
        self.offered = False
        self.ended_by: int | None = None
        self._writing: Generator[str, None, None] | None = None
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
        """Whether the model is at it."""
        return self._writing is not None

    def run(self) -> None:
        """Show the draft until the person leaves, the terminal is closed, or something breaks.

        Raises:
            Exception: What broke. The draft holds all that was written.
        """
        self.application.run(pre_run=self._watch, handle_sigint=False)

    def leave(self) -> None:
        """End."""
        self.stop()
        if self.application.is_running and not self.application.is_done:
            self.application.exit()

    def interrupt(self) -> None:
        """End the model's writing, or else all."""
        if self.is_writing:
            self.stop()
        else:
            self.leave()

    def attempt(self, action: Callable[[], object]) -> None:
        """Do what a key asks for; what cannot be done is told, and what breaks ends the program in order."""
        self.stop()
        self._try(action)

    def type(self, text: str) -> None:
        """Add what was typed; characters in a row that the model does not know are all named."""
        if text:
            notes = self.draft.type(text)
            notes = list(dict.fromkeys([*self._notes, *notes])) if notes else []
            self._changed()
            self._notes, self.note = notes, _unknown(notes)

    def erase(self, *, word: bool = False) -> None:
        """Take away a character or a word."""
        self._changed()
        self.draft.erase(word=word)

    def undo(self) -> None:
        """Take a step back."""
        self._changed()
        self.note = "" if self.draft.undo() else "nothing to undo"

    def redo(self) -> None:
        """Take a step that was undone again."""
        self._changed()
        self.note = "" if self.draft.redo() else "nothing to do again"

    def proceed(self, until: Until) -> None:
        """Have the model write, while keys are listened to."""
        self._changed()
        self._writing = self.draft.proceed(until)
        self.application.create_background_task(self._write(self._writing))

    def stop(self) -> None:
        """End the model's writing; what is there stays."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def likeliest(self) -> list[Candidate]:
        """Return what may come next, as many as are shown; nothing where the model gives no usable numbers."""
        try:
            return self.draft.likeliest(view.ROWS)
        except ValueError:
            return []

    def turn(self, step: float) -> None:
        """Change the temperature."""
        self.draft.temperature += step
        self.selected = 0

    def move(self, step: int) -> None:
        """Mark the next one, or the one before."""
        among = len(self.choices) or len(self.likeliest())
        self.selected = (self.selected + step) % max(1, among)

    def pick(self, place: int) -> None:
        """Write one of the choices on show, or else of the likeliest characters."""
        choices, likeliest = self.choices, self.likeliest()
        if place < len(choices):
            self.draft.accept(choices[place])
        elif not choices and place < len(likeliest):
            self.draft.choose(likeliest[place].symbol)
        self._changed()

    def offer(self) -> None:
        """Show several ways to go on; other ones each time."""
        self._changed()
        self.choices = self.draft.alternatives()

    def put_away(self) -> None:
        """Show no choices and ask for no name."""
        self._changed()
        self.name = None

    def scroll(self, pages: int) -> None:
        """Look back in the text, or forward again."""
        columns, rows = view.size(self)
        self.back = min(max(0, self.back + pages * columns * rows // 3), len(self.draft))

    def ask_name(self) -> None:
        """Ask where to save."""
        self._changed()
        self.name, self.offered = str(self.path or PROPOSED), True

    def spell(self, text: str, erase: int = 0) -> None:
        """Change the end of the name; a character typed first replaces a name that was offered."""
        typed = "".join(filter(str.isprintable, text))
        name = "" if self.offered and typed else self.name or ""
        self.name, self.offered = name[: len(name) - erase] + typed, self.offered and not (typed or erase)

    def submit(self) -> None:
        """Save under the name; a file that is there and not the draft's own only when asked for a second time."""
        name, self.name = (self.name or "").strip(), None
        if not name:
            return
        try:
            path = Path(name).expanduser()
            if path.exists() and path != self.path and self._replacing != name:
                self.name = self._replacing = name
                self.note = "is there already; Enter again replaces it"
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

    def _watch(self) -> None:
        """Leave in order when the terminal is closed, or at SIGTERM; what the parent process ignores stays ignored."""

        def end(number: int) -> None:
            self.ended_by = number
            self.leave()

        for number in [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]:
            if signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(NotImplementedError, RuntimeError, ValueError):  # not everywhere
                    asyncio.get_running_loop().add_signal_handler(number, end, number)


def _unknown(notes: list[str]) -> str:
    return f"unknown to the model: {', '.join(notes)}" if notes else ""
