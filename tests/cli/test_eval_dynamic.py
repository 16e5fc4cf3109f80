"""``char-rnn eval --dynamic``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from cli_helpers import Command

from char_rnn.training.dynamic_evaluation import DECAY, RATE, SEGMENT


def test_both_figures_are_there_under_their_names(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    static = json.loads(char_rnn("eval", run_folder, poem, "--json").out)
    both = json.loads(char_rnn("eval", run_folder, poem, "--json", "--dynamic", "--dynamic-rate", 0.01).out)
    dynamic = both.pop("dynamic")
    assert both == static
    assert set(static) == {
        "model",
        "data",
        "split",
        "characters",
        "nats_per_character",
        "bits_per_character",
        "perplexity",
    }
    assert dynamic["nats_per_character"] < static["nats_per_character"]
    assert dynamic["perplexity"] == pytest.approx(math.exp(dynamic["nats_per_character"]))
    assert dynamic["characters"] == static["characters"]
    settings = {name: dynamic[name] for name in ("rate", "decay", "segment", "statistics")}
    assert settings == {"rate": 0.01, "decay": DECAY, "segment": SEGMENT, "statistics": "train"}


def test_the_second_line_is_marked(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    plain = char_rnn("eval", run_folder, poem)
    done = char_rnn("eval", run_folder, poem, "--dynamic", "--dynamic-segment", 10, "--dynamic-decay", 0.01)
    first, second = done.out.splitlines()
    assert first + "\n" == plain.out
    assert second.startswith("dynamic: ")
    assert "rate 0.0002, decay 0.01, segments of 10, gradient statistics from the training split" in done.err
    assert char_rnn("eval", run_folder, poem, "--dynamic", "--quiet").err == ""


def test_another_text_has_no_training_split(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("so is the rose, " * 20)
    figures = json.loads(char_rnn("eval", run_folder, other, "--dynamic", "--dynamic-rate", 0.02, "--json").out)
    assert figures["dynamic"]["statistics"] == "own"
    assert figures["dynamic"]["nats_per_character"] < figures["nats_per_character"]


def test_the_help_gives_the_defaults(char_rnn: Command) -> None:
    shown = " ".join(char_rnn("eval", "--help").out.replace("│", " ").split())
    for option, default in (("eta", RATE), ("lambda", DECAY), ("updates", SEGMENT)):
        assert f"{option} (default: {default})" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dynamic-rate", 0.01], "--dynamic-rate has no effect without --dynamic; give both, or neither"),
        (["--dynamic-decay", 0], "--dynamic-decay has no effect without --dynamic"),
        (["--dynamic-segment", 5], "--dynamic-segment has no effect without --dynamic"),
        (["--dynamic", "--dynamic-rate", -1], "--dynamic-rate"),
        (["--dynamic", "--dynamic-rate", "nan"], "nan is not a finite number"),
        (["--dynamic", "--dynamic-decay", 1.5], "--dynamic-decay"),
        (["--dynamic", "--dynamic-segment", 0], "--dynamic-segment"),
        (["--dynamic", "--dynamic-segment", 10**21], "--dynamic-segment"),
    ],
)
def test_options_that_cannot_be(
    char_rnn: Command, run_folder: Path, poem: Path, options: list[object], words: str
) -> None:
    assert char_rnn("eval", run_folder, poem, *options).refused(2, words)


def test_learning_to_nowhere_is_one_line(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    done = char_rnn("eval", run_folder, poem, "--dynamic", "--dynamic-rate", 1e38, "--json", "--quiet")
    assert done.refused(1, "give a lower rate")


def test_ctrl_c_leaves_the_static_figure(
    char_rnn: Command, run_folder: Path, poem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("char_rnn.training.dynamic_evaluation._learn_along", interrupted)
    done = char_rnn("eval", run_folder, poem, "--dynamic", "--quiet")
    assert (done.status, done.err.strip()) == (130, "interrupted")
    assert done.out == char_rnn("eval", run_folder, poem, "--quiet").out
