"""The progress display: lines in a log, a bar on a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.text import Text
from training_helpers import small_config

from char_rnn.data.corpus import Corpus
from char_rnn.training import CharRNNTrainer
from char_rnn.training.progress import BarProgress, LineProgress, training_progress

MakeTrainer = Callable[..., CharRNNTrainer]


def console(*, terminal: bool, width: int = 200) -> Console:
    """Return a console that prints in UTF-8."""
    file = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    return Console(file=file, force_terminal=terminal, width=width, color_system=None, _environ={"TERM": "xterm"})


def shown(console: Console) -> str:
    assert isinstance(console.file, io.TextIOWrapper)
    assert isinstance(console.file.buffer, io.BytesIO)
    return console.file.buffer.getvalue().decode()


def test_lines_say_step_loss_speed_and_best(make_trainer: MakeTrainer) -> None:
    screen = console(terminal=False)
    config = small_config(training={"max_steps": 14, "eval_interval": 7}, logging={"sample_length": 5})
    make_trainer(config, callbacks=[LineProgress(screen)], sample=lambda model: "a rose\nis \x1b[2J").train()
    lines = shown(screen).splitlines()
    number = r"[\d,.]+"
    train = rf"step 7/14  epoch {number}  train {number} nats \({number} bits\) per character  {number} characters/s"
    assert re.fullmatch(rf"{train}  {number} [MG]B", lines[0])
    assert re.fullmatch(rf"step 7/14  epoch {number}  val .* perplexity {number}  best", lines[1])
    assert lines[2:4] == ["    a rose", r"    is \x1b[2J"]
    assert "test" in lines[-1]


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the live line at every step, however fast they are."""
    monkeypatch.setattr(BarProgress, "redraw_seconds", 0)


@pytest.mark.usefixtures("every_step")
def test_the_bar_counts_steps_and_leaves_the_evaluations(make_trainer: MakeTrainer) -> None:
    screen = console(terminal=True)
    make_trainer(small_config(training={"max_steps": 40, "eval_interval": 10}), callbacks=[BarProgress(screen)]).train()
    assert shown(screen).count("  val ") == 4
    assert " train " not in shown(screen)
    assert re.search(r"step \d+/40  epoch \d", shown(screen))


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_the_bar_has_the_fields_that_fit(make_trainer: MakeTrainer, width: int) -> None:
    """So do evaluations; samples are wrapped at words."""
    screen = console(terminal=True, width=width)
    config = small_config(training={"max_steps": 40, "eval_interval": 20}, logging={"sample_length": 5})
    make_trainer(config, callbacks=[BarProgress(screen)], sample=lambda model: "a rose is a rose " * 9).train()
    rows = re.split(r"[\r\n]+", re.sub(r"\x1b\[\d*[A-Z]", "", shown(screen)))
    assert max(map(len, rows)) < width
    assert all(re.fullmatch("(    )?(a|rose|is| )*", row) for row in rows if "rose" in row)
    assert any(re.match(r" +\d+% [━─]{4,24}", row) for row in rows)
    assert width > 20 or "loss " not in shown(screen)
    for words, needed in (("loss ", 60), ("char/s", 60), ("step ", 80), ("epoch ", 120)):
        assert any(words in row for row in rows if "%" in row) or width < needed
    for words, needed in ((" nats  best", 60), ("perplexity", 80), ("epoch ", 120)):
        assert any(words in row for row in rows if "val" in row) or width < needed


def test_a_line_that_a_resize_has_broken_is_erased_in_all_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Except in terminals that cut lines off."""
    for terminal, up in (("", 2), ("XTerm(390)", 0)):
        monkeypatch.setenv("XTERM_VERSION", terminal) if terminal else monkeypatch.delenv("XTERM_VERSION", False)
        screen = console(terminal=True, width=120)
        display = BarProgress(screen)
        display._bar = Text("x" * 119)
        display._draw()
        screen.width = 50
        display._bar = Text("y")
        display._draw()
        assert shown(screen).partition("x" * 119)[2] == "\r\x1b[2K" + "\x1b[1A\r\x1b[2K" * up + "y"


def test_the_number_of_steps_is_marked_until_it_has_settled(make_trainer: MakeTrainer) -> None:
    screen = console(terminal=False)
    config = small_config(
        training={"minutes": 1.0, "max_epochs": 10_000, "eval_interval": 40}, logging={"log_interval": 1}
    )
    ticks = iter(range(10**9))
    make_trainer(config, callbacks=[LineProgress(screen)], clock=lambda: next(ticks) * 0.05).train()
    totals = re.findall(r"step [\d,]+/(~?)[\d,]+", shown(screen))
    assert totals[0] == "~"
    assert totals[-1] == ""


def test_an_evaluation_shows_how_far_it_is(make_trainer: MakeTrainer) -> None:
    screen = console(terminal=True)

    class Impatient(BarProgress):
        def on_evaluating(self, split: str, done: int, total: int) -> None:
            self._drawn = 0.0
            super().on_evaluating(split, done, total)

    text = Corpus.from_text("a rose is a rose\n" * 300)
    make_trainer(small_config(training={"max_steps": 1}), corpus=text, callbacks=[Impatient(screen)]).train()
    assert re.search(r"50% [━─]+  evaluating val  256 of 510 characters", shown(screen))
    assert re.search(r"100% [━─]+  evaluating test  510 of 510 characters", shown(screen))


def test_a_timed_run_shows_the_time_left(make_trainer: MakeTrainer) -> None:
    screen = console(terminal=True)
    config = small_config(training={"minutes": 1.0, "max_epochs": 10_000, "eval_interval": 100})
    ticks = iter(range(10**9))
    make_trainer(config, callbacks=[BarProgress(screen)], clock=lambda: next(ticks) * 0.05).train()
    assert re.search(r"0:\d\d left", shown(screen))


def test_standard_error_decides_between_the_two() -> None:
    assert type(training_progress(console(terminal=True))) is BarProgress
    assert type(training_progress(console(terminal=False))) is LineProgress
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert type(training_progress(dumb)) is LineProgress


def test_events_are_told_in_words(make_trainer: Callable[..., CharRNNTrainer]) -> None:
    screen = io.StringIO()
    display = LineProgress(Console(file=screen, width=200))
    trainer = make_trainer()
    for event in (
        {"step": 20, "event": "rollback", "failed_step": 27, "reason": "the loss is nan", "rate_factor": 0.25},
        {"step": 20, "event": "device", "failed_step": 27, "reason": "CUDA error: [x]\x07", "left": "cuda"},
        {"step": 26, "event": "memory", "micro_batch": 8},
        {"step": 0, "event": "evaluation", "characters": 4096, "of": 20_400},
    ):
        display.on_event(trainer, event)
    assert screen.getvalue().splitlines() == [
        "step 27: the loss is nan; returned to step 20, learning rate multiplied by 0.25",
        "step 27: CUDA error: [x]\\x07; returned to step 20, continuing on the CPU",
        "out of memory: computing 8 sequences at a time from now on; the batches stay the same",
        "each evaluation predicts 4,096 of 20,400 characters: all of them would take too long",
    ]
