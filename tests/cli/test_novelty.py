"""``char-rnn novelty``."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import TEXT, Command

from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.utils.config.schema import GenerationConfig


def test_what_is_copied_is_found_with_its_place(
    char_rnn: Command, run_folder: Path, poem: Path, tmp_path: Path
) -> None:
    copied = TEXT[100:180]
    text = tmp_path / "mine.txt"
    text.write_text(f"Quite new: é{copied}é", encoding="utf-8")
    done = char_rnn("novelty", run_folder, poem, "--text", text, "--json")
    assert done.status == 0
    facts = json.loads(done.out)
    assert facts["judged"]["characters"] == 93
    assert facts["judged"]["longest"] == 80
    assert facts["judged"]["copied"] == {"20": pytest.approx(80 / 93), "50": pytest.approx(80 / 93), "100": 0}
    assert facts["judged"]["novel"]["4"] > 0
    assert facts["held_out"]["characters"] == 93
    first = TEXT.index(copied)
    run = facts["runs"][0]
    assert (run["text"], run["length"], run["sample"], run["start"]) == (copied, 80, 0, 12)
    assert (run["file"], run["offset"], run["line"]) == (str(poem), first, 1 + TEXT[:first].count("\n"))
    assert run["count"] == sum(TEXT.startswith(copied, place) for place in range(int(len(TEXT) * 0.8) - 79))


def test_the_table_has_samples_beside_held_out_text(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    arguments = ("novelty", run_folder, poem, "--num-samples", 3, "--length", 50, "--seed", 1, "--runs", 2)
    done = char_rnn(*arguments)
    assert done.status == 0
    assert done.err == "3 samples of 50 characters against the training split of poem, 2,208 characters\n"
    lines = done.out.splitlines()
    assert lines[0].split() == ["samples", "held", "out"]
    assert lines[1].split() == ["characters", "150", "150"]
    assert sum(", offset " in line for line in lines) == 2
    assert f"first {poem}:" in done.out
    assert char_rnn(*arguments).out == done.out


def test_what_is_not_given_is_the_models(
    char_rnn: Command, run_folder: Path, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, asked = ModelFile.read(run_folder), []

    def generate_many(self: TextGenerator, prime: str, length: int, **options: Any) -> list[str]:
        asked.append((prime, length, options))
        return [f"{prime}rose is red"]

    monkeypatch.setattr(TextGenerator, "generate_many", generate_many)
    settings = {"prime": "The ", "temperature": 0.7, "final_temperature": 0.2, "typical_p": 0.9, "seed": 3}
    config = file.config.model_copy(update={"generation": GenerationConfig.model_validate(settings)})
    replace(file, config=config).write(tmp_path / "model.safetensors")
    for options in ([], ["--prime", "", "--temperature", 0.5, "--seed", 4]):
        arguments = ("novelty", tmp_path / "model.safetensors", poem, "--length", 11, "--num-samples", 1, *options)
        done = char_rnn(*arguments, "--json")
        assert json.loads(done.out)["judged"]["characters"] == 11
    for (prime, length, options), expected in zip(asked, (("The ", 0.7, 3), ("", 0.5, 4)), strict=True):
        assert (prime, options["temperature"], options["seed"]) == expected
        assert (length, options["final_temperature"], options["typical_p"]) == (11, 0.2, 0.9)


def test_all_of_the_text_leaves_nothing_to_compare_with(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    done = char_rnn("novelty", run_folder, poem, "--split", "all", "--length", 20, "--json", "--quiet")
    assert json.loads(done.out)["held_out"] is None
    assert done.err == ""


def test_another_text_is_said_to_be_one(
    char_rnn: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHAR_RNN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Ünknown lines,\nso sweet.\n".encode() * 9)))
    done = char_rnn("novelty", run_folder, "-", "--length", 30, "--num-samples", 1)
    assert done.status == 0
    assert done.err.splitlines() == [
        "stdin is not the text that the model was trained on",
        "a sample of 30 characters against the training split of stdin, 180 characters",
    ]


def test_one_is_one_and_many_are_counted_to_a_thousand(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("ab" * 1500 + "c", encoding="utf-8")
    for letter, counted, offset in (("a", "1,000 places or more", "0"), ("c", "1 place", "3,000")):
        (tmp_path / letter).write_text(letter, encoding="utf-8")
        arguments = ("novelty", run_folder, tmp_path / "text.txt", "--text", tmp_path / letter, "--split", "all")
        done = char_rnn(*arguments)
        assert done.err.endswith(f"{letter}, 1 character against text, 3,001 characters\n")
        assert f"\n1 character, {counted}, first {tmp_path / 'text.txt'}:1, offset {offset}\n" in done.out


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--text", "nowhere.txt"], 2, "error: nowhere.txt: no such file"),
        (["--prime", "ß"], 2, "unknown character 'ß'"),
        (["--length", "0"], 2, "--length"),
        (["--num-samples", "1000001"], 2, "--num-samples"),
        (["--temperature", "nan"], 2, "temperature: must be a number, 0 or more"),
        (["--encoding", "klingon"], 1, "encoding 'klingon': unknown"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    char_rnn: Command, run_folder: Path, poem: Path, options: list[str], status: int, message: str
) -> None:
    assert char_rnn("novelty", run_folder, poem, *options).refused(status, message)


def test_a_judged_text_may_have_other_line_ends(
    char_rnn: Command, run_folder: Path, poem: Path, tmp_path: Path
) -> None:
    text = tmp_path / "windows.txt"
    text.write_bytes(poem.read_bytes()[:400].replace(b"\n", b"\r\n"))
    done = char_rnn("novelty", run_folder, poem, "--text", text, "--json")
    assert json.loads(done.out)["runs"][0]["length"] == 400


def test_an_empty_text_is_refused(char_rnn: Command, run_folder: Path, poem: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert char_rnn("novelty", run_folder, poem, "--text", tmp_path / "empty.txt").refused(2, "is empty")
