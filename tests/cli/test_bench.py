"""``char-rnn bench``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import Command

from char_rnn.bench import questions
from char_rnn.bench.questions import Settings
from char_rnn.bench.report import Report, Table


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings]]:
    """What was asked; nothing is measured."""
    made: list[tuple[str, Settings]] = []

    def measure(question: str, settings: Settings) -> Report:
        made.append((question, settings))
        settings.tell(f"on {question}")
        return Report(
            question, "How fast?", [Table("a step", [{"case": "one", "bare": 1234.5, "ratio": 0.5}], "A note.")]
        )

    monkeypatch.setattr(questions, "measure", measure)
    return made


def test_tables_and_the_machine(char_rnn: Command, asked: list[tuple[str, Settings]]) -> None:
    done = char_rnn("bench", "--rounds", 3, "--threads", 1)
    assert done.status == 0
    assert [question for question, _ in asked] == ["training", "generation"]
    assert (asked[0][1].rounds, asked[0][1].threads, asked[0][1].quick) == (3, 1, False)
    assert done.err == "on training\non generation\n"
    assert "How fast? (a step)" in done.out
    assert "1,234" in done.out
    assert "A note." in done.out
    assert "1 threads; Python" in done.out.splitlines()[-1]


def test_json_and_files(char_rnn: Command, asked: list[tuple[str, Settings]], tmp_path: Path) -> None:
    done = char_rnn("bench", "all", "--json", "--quiet", "--out", tmp_path / "new")
    assert done.err == ""
    found = json.loads(done.out)
    assert list(found) == list(questions.QUESTIONS) == [question for question, _ in asked]
    assert found["ops"]["tables"][0]["rows"] == [{"case": "one", "bare": 1234.5, "ratio": 0.5}]
    assert Report.read(tmp_path / "new" / "ops.json").rows("a step")[0]["bare"] == 1234.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speed"], "speed must be one of training, generation, ops, data, quality, growth, all"),
        (["--peer", "mine"], "mine: must read NAME=COMMAND"),
        (["ops", "--peer", "mine=x"], "mine: answers training, which is not asked; name it"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
    ],
)
def test_bad_input(char_rnn: Command, asked: list[tuple[str, Settings]], words: list[str], message: str) -> None:
    done = char_rnn("bench", *words)
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not asked


def test_a_peer_that_fails_is_told(char_rnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from char_rnn.bench.peers import PeerError

    def measure(question: str, settings: Settings) -> Report:
        raise PeerError("mine: x: No such file or directory")

    monkeypatch.setattr(questions, "measure", measure)
    done = char_rnn("bench", "training", "--peer", "mine=x", "--quiet")
    assert (done.status, done.err) == (1, "error: mine: x: No such file or directory\n")
