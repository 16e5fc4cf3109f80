"""The terminal around a draft, driven by keys, without a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import disposition
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput, Output

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.interact import view
from char_rnn.interact.draft import Draft
from char_rnn.interact.screen import Screen
from char_rnn.models.parameters import parameter_shapes
from char_rnn.sampling.options import Strategy
from char_rnn.utils.config import ModelConfig

LETTERS = Vocabulary.from_text("abcdefg \n'.12漢\u0301\t")
PASTE = "\x1b[200~{}\x1b[201~"
KEYS = {
    "Esc": "\x1b", "Up": "\x1b[A", "Down": "\x1b[B", "Right": "\x1b[C", "PageUp": "\x1b[5~", "PageDown": "\x1b[6~",
    "F7": "\x1b[18~", "F8": "\x1b[19~", "F5": "\x1b[15~", "Tab": "\t", "Enter": "\r", "Back": "\x7f", "Alt-2": "\x1b2",
    "Alt-Enter": "\x1b\r", "^C": "\x03", "^E": "\x05", "^N": "\x0e", "^P": "\x10", "^Q": "\x11", "^S": "\x13",
    "^U": "\x15", "^W": "\x17", "^Y": "\x19", "^Z": "\x1a",
}  # fmt: skip
Step = tuple[str, Callable[[Screen], bool]]


def draft(prime: str = "", temperature: float = 1.0) -> Draft:
    config = ModelConfig.model_validate({"hidden_size": 6, "num_layers": 1})
    rng = np.random.default_rng(1)
    shapes = dict(parameter_shapes(config, LETTERS.size))
    engine = Engine(config, {name: 0.3 * rng.normal(size=shape) for name, shape in shapes.items()})
    return Draft(engine, LETTERS, Strategy(temperature=temperature), seed=2, prime=prime)


async def started(screen: Screen) -> asyncio.Task[None]:
    running = asyncio.create_task(screen.application.run_async())
    while not screen.application.is_running:
        await asyncio.sleep(0)
    return running


def play(
    *steps: Step, prime: str = "", begin: Draft | None = None, output: Output | None = None, **options: Any
) -> Screen:
    """Press keys, each when the one before has had its effect; leave when all have."""

    async def drive(screen: Screen, send: Callable[[str], None]) -> None:
        running = await started(screen)
        try:
            for keys, has_happened in steps:
                send(KEYS.get(keys, keys))
                for _ in range(2000):
                    if running.done() and running.exception():
                        return  # it is raised below
                    if (running.done() or not screen.is_writing) and has_happened(screen):
                        break
                    await asyncio.sleep(0.005)
                else:
                    pytest.fail(f"{keys}: nothing happened; {screen.draft.text!r}, {screen.note!r}")
        finally:
            screen.leave()
            await running

    with create_pipe_input() as pipe:
        devices = {"terminal_input": pipe, "terminal_output": output or DummyOutput()}
        screen = Screen(draft(prime) if begin is None else begin, "model", **devices, **options)
        asyncio.run(drive(screen, pipe.send_text))
    return screen


def text(expected: str) -> Callable[[Screen], bool]:
    return lambda screen: screen.draft.text == expected


def longer(length: int) -> Callable[[Screen], bool]:
    return lambda screen: len(screen.draft) >= length


def note(expected: str) -> Callable[[Screen], bool]:
    return lambda screen: expected in screen.note


def plain(fragments: list[tuple[str, str]]) -> str:
    return "".join(fragment[1] for fragment in fragments)


def test_typing_erasing_undoing() -> None:
    screen = play(
        ("ab c", text("ab c")),
        ("Enter", text("ab c\n")),
        ("Back", text("ab c")),
        ("^W", text("ab ")),
        ("^Z", text("ab c")),
        ("^Z", text("ab c\n")),
        ("^Y", text("ab c")),
        (PASTE.format("d\r\ne"), text("ab cd\ne")),
        ("^Y", note("nothing to redo")),
    )
    assert plain(view.status_of(screen)) == " temperature 1.00  nothing to redo"


def test_the_model_writes_a_word_a_line_and_more() -> None:
    screen = play(
        ("ab ", text("ab ")),
        ("Tab", longer(5)),
        ("Alt-Enter", lambda screen: screen.draft.text.endswith("\n")),
        ("^E", lambda screen: screen.draft.text.count("\n") == 2),
        ("^P", longer(250)),
        paragraph=250,
    )
    drawn = screen.draft.text[3:]
    assert [bold for _, bold in screen.draft.stretches()] == [False, True]
    assert view.text_of(screen)[:2] == [("class:typed", "ab "), ("class:drawn", drawn.replace("\t", "    "))]


def test_writing_ends_at_escape_or_any_other_key() -> None:
    for key, more in (("Esc", ""), ("b", "b"), ("^C", "")):

        async def drive(key: str = key, more: str = more) -> str:
            with create_pipe_input() as pipe:
                screen = Screen(draft("a"), "m", paragraph=10**6, terminal_input=pipe, terminal_output=DummyOutput())
                running = await started(screen)
                pipe.send_text(KEYS["^P"])
                while len(screen.draft) < 200:
                    await asyncio.sleep(0)
                assert screen.is_writing
                assert "writing" in plain(view.status_of(screen))
                pipe.send_text(KEYS.get(key, key))
                while screen.is_writing:
                    await asyncio.sleep(0.005)
                screen.leave()
                await running
                assert screen.draft.text.endswith(more)
                assert screen.draft.undo()
                return screen.draft.text

        assert asyncio.run(drive())[:1] == "a"


def test_likely_characters_are_picked_by_arrows_and_digits() -> None:
    best = [candidate.text for candidate in draft("ab").likeliest(4)]
    assert play(("Right", longer(3)), prime="ab").draft.text == "ab" + best[0]
    assert play(("Alt-2", longer(3)), prime="ab").draft.text == "ab" + best[1]
    screen = play(
        ("Up", lambda screen: screen.selected == LETTERS.size - 1),
        ("Down", lambda screen: screen.selected == 0),
        ("Down", lambda screen: screen.selected == 1),
        ("Down", lambda screen: screen.selected == 2),
        ("Right", longer(3)),
        prime="ab",
    )
    assert screen.draft.text == "ab" + best[2]
    assert screen.selected == 0


def test_alternatives_are_shown_chosen_or_put_away() -> None:
    offered: list[Any] = []

    def shows(screen: Screen) -> bool:
        offered[:] = screen.choices
        return len(screen.choices) == 5 and "Enter or 1 to 5 accept" in plain(view.help_of(screen))

    screen = play(
        ("^N", shows),
        ("Down", lambda screen: screen.selected == 1),
        ("Down", lambda screen: screen.selected == 2),
        ("Enter", lambda screen: not screen.choices),
        prime="ab",
    )
    assert screen.draft.text == "ab" + offered[2].text
    screen = play(("^N", shows), ("4", lambda screen: not screen.choices), ("4", note("unknown")), prime="ab")
    assert screen.draft.text == "ab" + offered[3].text
    assert play(("^N", shows), ("Esc", lambda screen: not screen.choices), prime="ab").draft.text == "ab"
    assert play(("^N", shows), ("a", text("aba")), prime="ab").choices == []


def test_temperature_goes_up_and_down() -> None:
    screen = play(
        ("F8", lambda screen: screen.draft.temperature == 1.05),
        ("F7", lambda screen: screen.draft.temperature == 1),
        ("\x1b-", lambda screen: screen.draft.temperature == 0.95),
    )
    assert "next, at 0.95" in plain(view.likeliest_of(screen))
    assert "temperature 0.95" in plain(view.status_of(screen))


def test_unknown_characters_are_told() -> None:
    screen = play(
        ("z", note("unknown to the model: 'z' (U+007A) left out")),
        ("’", note("unknown to the model: 'z' (U+007A) left out, '’' (U+2019) written as \"'\"")),
        ("è", note("left out, '’' (U+2019) written as \"'\", 'è' (U+00E8) written as 'e'")),
        ("a", text("'ea")),
    )
    assert screen.note == ""


def test_keys_that_mean_nothing_do_nothing() -> None:
    assert play(("F5", lambda screen: True), ("b", text("ab")), prime="a").draft.text == "ab"


def test_looking_back() -> None:
    screen = play(
        ("PageUp", lambda screen: screen.back > 0),
        ("PageUp", lambda screen: screen.back == 1500),
        ("PageUp", lambda screen: screen.back == 1500),
        prime="ab c " * 300,
    )
    assert view.text_of(screen)[0] == ("[SetCursorPosition]", "")
    assert play(("PageUp", lambda s: s.back > 0), ("PageDown", lambda s: s.back == 0), prime="ab " * 9).back == 0
    assert play(("PageUp", lambda s: s.back > 0), ("a", lambda s: s.back == 0), prime="ab " * 9).back == 0


def test_saving(tmp_path: Path) -> None:
    path, other = tmp_path / "draft.txt", tmp_path / "other"
    other.write_text("mine", encoding="utf-8")
    screen = play(
        ("ab", text("ab")),
        ("^S", lambda screen: screen.name == "draft.txt"),
        ("Back", lambda screen: screen.name == "draft.tx"),
        ("t", lambda screen: screen.name == "draft.txt"),
        ("Esc", lambda screen: screen.name is None),
        ("^S", lambda screen: ("class:offered", "draft.txt") in view.status_of(screen)),
        (str(path) + "x", lambda screen: screen.name == str(path) + "x"),
        ("Back", lambda screen: screen.name == str(path)),
        ("Enter", note("saved")),
        ("c", text("abc")),
        ("^S", lambda screen: screen.name == str(path)),
        ("Enter", note("saved")),
        ("^S", lambda screen: screen.name is not None),
        ("^U", lambda screen: screen.name == ""),
        (str(other), lambda screen: screen.name == str(other)),
        ("Enter", note("exists; press Enter again to replace it")),
        ("Esc", lambda screen: screen.name is None),
        ("^S", lambda screen: screen.name is not None),
        ("^U", lambda screen: screen.name == ""),
        (PASTE.format(tmp_path / "no" / "x"), lambda screen: screen.name == str(tmp_path / "no" / "x")),
        ("Enter", note("not saved: no such file or directory")),
        ("^U", lambda screen: screen.name == ""),
        ("~nobody-of-that-name/x", lambda screen: str(screen.name).endswith("/x")),
        ("Enter", note("not saved: could not determine home")),
    )
    assert screen.draft.text == "abc"
    assert path.read_text(encoding="utf-8") == "abc"
    assert other.read_text(encoding="utf-8") == "mine"
    assert plain(view.status_of(screen)).startswith(" save as: ~nobody-of-that-name/x_  (not saved")
    assert plain(view.help_of(screen)).startswith("Enter save")


def test_a_file_is_replaced_when_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("draft.txt").write_text("older", encoding="utf-8")
    play(
        ("^S", lambda screen: screen.name == "draft.txt"),
        ("Enter", note("Enter again")),
        ("Enter", note("saved draft.txt")),
        prime="bc",
    )
    assert Path("draft.txt").read_text(encoding="utf-8") == "bc"


def test_it_is_left_by_ctrl_q_and_ctrl_c() -> None:
    for key in ("^Q", "^C"):
        assert play((key, lambda screen: not screen.application.is_running), prime="ab").draft.text == "ab"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("ignored", [False, True])
def test_it_is_left_at_sigterm_unless_that_is_ignored(monkeypatch: pytest.MonkeyPatch, ignored: bool) -> None:
    watch = Screen._watch

    def watch_and_kill(screen: Screen) -> None:
        watch(screen)
        os.kill(os.getpid(), signal.SIGTERM)
        if ignored:
            pipe.send_text("b" + KEYS["^Q"])

    monkeypatch.setattr(Screen, "_watch", watch_and_kill)
    with create_pipe_input() as pipe, disposition(ignored, signal.SIGTERM):
        screen = Screen(draft("a"), "m", terminal_input=pipe, terminal_output=DummyOutput())
        screen.run()
    assert (screen.ended_by, screen.draft.text) == ((None, "ab") if ignored else (signal.SIGTERM, "a"))


def test_what_breaks_ends_it_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draft, "erase", lambda *_, **__: 1 / 0)
    with create_pipe_input() as pipe:
        screen = Screen(draft("ab"), "m", terminal_input=pipe, terminal_output=DummyOutput())
        pipe.send_text("c" + KEYS["Back"])
        with pytest.raises(ZeroDivisionError):
            screen.run()
    assert screen.draft.text == "abc"


def test_a_model_without_usable_numbers_is_told() -> None:
    screen = play(prime="ab")
    screen.draft._live.log_probs = np.full(LETTERS.size, np.nan, np.float32)
    assert screen.likeliest() == []
    screen.attempt(screen.offer)
    assert "NaN" in screen.note
    screen.attempt(lambda: screen.move(1))
    assert screen.selected == 0
