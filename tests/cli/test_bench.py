"""``char-rnn bench``: tables, JSON, peers, and what cannot be asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_helpers import Command

from char_rnn.bench import ops, suites
from char_rnn.bench.suites import SUITES, ResultTable, Settings, SuiteResult
from char_rnn.machine import describe_machine


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings]]:
    """What is asked; the answers are made up."""
    seen: list[tuple[str, Settings]] = []

    def measure(question: str, settings: Settings) -> SuiteResult:
        seen.append((question, settings))
        settings.progress(f"the {question}")
        rows = [{"case": "small", "characters/s": 12345.6}, {"case": "large", "characters/s": 0.5}]
        return SuiteResult(
            question,
            SUITES[question],
            [ResultTable("speeds", rows, "A note.")],
            settings.command(question),
            describe_machine(),
        )

    monkeypatch.setattr(suites, "measure", measure)
    return seen


def test_tables_machine_and_command_are_printed(char_rnn: Command, asked: list[tuple[str, Settings]]) -> None:
    done = char_rnn("bench", "ops", "--threads", 2, "--rounds", 7)
    assert done.status == 0
    assert done.out.startswith(f"\n{SUITES['ops']}\n")
    assert "12,346" in done.out
    assert "A note." in done.out
    assert "PyTorch " in done.out
    assert "char-rnn bench ops --threads 2 --rounds 7\n" in done.out
    assert done.err == "0:00:00  the ops\n"
    [(question, settings)] = asked
    assert (question, settings.threads, settings.rounds, settings.quick) == ("ops", 2, 7, False)


def test_unasked_it_measures_training_and_generation_quickly(
    char_rnn: Command, asked: list[tuple[str, Settings]]
) -> None:
    assert char_rnn("bench", "--quiet").err == ""
    assert [(question, settings.quick, settings.rounds) for question, settings in asked] == [
        ("training", True, 3),
        ("generation", True, 3),
    ]


def test_all_are_written_as_json(
    char_rnn: Command, asked: list[tuple[str, Settings]], tmp_path: Path, poem: Path
) -> None:
    folder = tmp_path / "a" / "b"
    done = char_rnn("bench", "all", "ops", "--out", folder, "--json", "--text", poem)
    assert done.status == 0
    assert [question for question, _ in asked] == list(SUITES)
    assert sorted(path.stem for path in folder.iterdir()) == sorted(SUITES)
    printed = json.loads(done.out)
    assert list(printed) == list(SUITES)
    assert printed["ops"] == json.loads((folder / "ops.json").read_text())
    assert SuiteResult.read(folder / "ops.json").rows("speeds")[0]["characters/s"] == 12345.6
    assert f"wrote {folder / 'ops'}.json" in done.err


def test_a_question_is_answered(char_rnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "QUICK_HIDDEN", (4,))
    monkeypatch.setattr(ops, "LAYERS", {"rnn": ops.LAYERS["rnn"]})
    done = char_rnn("bench", "ops", "--quick", "--rounds", 1, "--json")
    assert done.status == 0
    rows = json.loads(done.out)["ops"]["tables"][0]["rows"]
    assert [row["task"] for row in rows] == ["train", "step"]
    assert all(row["ours ms"] > 0 and row["PyTorch ms"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["speed"], "'speed' is not one of"),
        (["ops", "--threads", "0"], "--threads"),
        (["ops", "--rounds", "0"], "--rounds"),
        (["training", "--peer", "python mine.py"], "must be NAME=COMMAND"),
        (["training", "--peer", "mine=python {characters}"], "{characters}: the placeholders for training are {text}"),
        (["training", "--peer", "generation:mine=python"], "mine: is for `generation`; give that suite too"),
        (["training", "--case", "9x9"], "9x9: no such case; give 2x128, 1x384"),
        (["ops", "--case", "2x128"], "is for `training`; give that suite too"),
        (["quality", "--text", "no-such-text.txt"], "no-such-text.txt"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(
    char_rnn: Command, asked: list[tuple[str, Settings]], arguments: list[str], says: str
) -> None:
    assert char_rnn("bench", *arguments).refused(2, says)
    assert asked == []


def test_a_file_is_no_folder(char_rnn: Command, asked: list[tuple[str, Settings]], poem: Path) -> None:
    assert char_rnn("bench", "ops", "--out", poem).refused(2, "is not a folder")
    assert asked == []


def test_a_peer_that_fails_is_named(char_rnn: Command) -> None:
    peer = f"generation:mine={sys.executable} -c \"raise SystemExit('no Torch7 here')\""
    done = char_rnn("bench", "generation", "--quick", "--quiet", "--rounds", 1, "--peer", peer)
    assert done.refused(1, "mine: ")
    assert done.err.endswith("ended with status 1: no Torch7 here\n")
