"""``char-rnn sweep``: how values are split, and what is refused in one line with nothing made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_helpers import SMALL, Command

from char_rnn.cli.sweep import split_values
from char_rnn.utils.config import load_config

BASE = [*SMALL, "--set", "training.eval_interval=10", "--set", "logging.tensorboard=false"]


SHORT = [*BASE, "--set", "training.max_steps=20"]


RATES = ["--grid", "training.learning_rate=1e-2,1e-3"]


def test_several_processes_are_refused(char_rnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = char_rnn("sweep", "quickstart", "--seeds", "1")
    assert done.status == 2
    assert "leave out torchrun" in done.err


def test_nothing_to_go_on_with(char_rnn: Command, run_folder: Path) -> None:
    done = char_rnn("sweep", "--resume", run_folder)
    assert done.status == 1
    assert "no sweep to continue" in done.err


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-3,2e-3", ["1e-3", "2e-3"]),
        ("[0.9, 0.95],[0.9, 0.99]", ["[0.9, 0.95]", "[0.9, 0.99]"]),
        ("[[0, 5], [5, 9]], null", ["[[0, 5], [5, 9]]", "null"]),
        ("'a,b',\"c,d\",e", ["'a,b'", '"c,d"', "e"]),
        ("'it''s, so',b", ["'it''s, so'", "b"]),
        ('"say \\"a, b\\"",c', ['"say \\"a, b\\""', "c"]),
        ("don't,won't", ["don't", "won't"]),
        ("1,,2,", ["1", "", "2", ""]),
        ("", [""]),
        ("a],b", ["a]", "b"]),
        (" x , y ", ["x", "y"]),
    ],
)
def test_values_are_split_at_commas_outside_brackets(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_lists_and_texts_as_values(char_rnn: Command, poem: Path, tmp_path: Path) -> None:
    grid = ["--grid", "training.adam_betas=[0.9,0.95],[0.5,0.99]", "--grid", "generation.prime='so, are',the"]
    done = char_rnn("sweep", "quickstart", poem, *grid, *BASE, "--set", "training.minutes=null",
                    "--set", "training.max_steps=1", "--out", tmp_path / "sweep", "-q")  # fmt: skip
    assert done.status == 0, done.err
    config = load_config(tmp_path / "sweep" / "adam_betas=0.5-0.99,prime=so-are" / "config.yaml")
    assert (config.training.adam_betas, config.generation.prime) == ((0.5, 0.99), "so, are")


REFUSED: dict[str, tuple[list[str], str]] = {
    "no recipe": ([], r"Missing argument 'RECIPE'"),
    "no grid": (["quickstart", "TEXT"], r"the grid is empty: give --grid"),
    "no values": (["quickstart", "TEXT", "--grid", "training.seed="], r"--grid training\.seed=: has no values"),
    "no equals sign": (["quickstart", "TEXT", "--grid", "training.seed"], r"--grid training\.seed: has no values"),
    "an empty value": (["quickstart", "TEXT", "--grid", "training.minutes=1,"], r"has an empty value"),
    "seeds that are none": (["quickstart", "TEXT", "--seeds", "a,b"], r"--seeds a: must be"),
    "no seeds": (["quickstart", "TEXT", "--seeds", ""], r"--seeds .*a seed is missing"),
    "an unknown key": (["quickstart", "TEXT", "--grid", "training.rate=1,2"], r"--grid training\.rate=1: unknown key"),
    "an unknown section": (["quickstart", "TEXT", "--grid", "seed=1,2"], r"did you mean training\.seed"),
    "a wrong value": (["quickstart", "TEXT", "--grid", "model.dropout=0.1,2"], r"dropout=2.*to below 1; given 2"),
    "a wrong first value": (["quickstart", "TEXT", "--grid", "model.dropout=2"], r"--grid model\.dropout=2: must be"),
    "a value twice": (["quickstart", "TEXT", "--grid", "model.dropout=0.5,5e-1"], r"model\.dropout=0\.5 twice"),
    "a key twice": (["quickstart", "TEXT", "--seeds", "1", "--grid", "training.seed=2"], r"seed is in the grid twice"),
    "a key set too": (["quickstart", "TEXT", "--seeds", "1", "--set", "training.seed=2"], r"given by --set train"),
    "minutes set too": (["quickstart", "TEXT", "--grid", "training.minutes=1", "--minutes", "2"], r"by --minutes"),
    "a text set too": (["quickstart", "TEXT", "--grid", "data.data_dir=a,b"], r"both in the grid and given by DATA"),
    "a conflict": (
        ["quickstart", "TEXT", "--grid", "model.embedding_size=4,null", "--grid", "model.embedding=learned,one-hot"],
        r"model\.embedding_size=4 model\.embedding=one-hot: .*set model\.embedding_size to null",
    ),
    "no such recipe": (["quikstart", "TEXT", "--seeds", "1"], r"did you mean quickstart"),
    "no such file": (["no.yaml", "TEXT", "--seeds", "1"], r"no\.yaml: no such file"),
    "no such text": (["quickstart", "no.txt", "--seeds", "1"], r"no\.txt: no such file"),
    "resume and a grid": (["--resume", "DIR", "--seeds", "1"], r"leave out all options but --device"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_and_nothing_made(
    char_rnn: Command, poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words, expected = REFUSED[name]
    done = char_rnn("sweep", *(str(poem) if word == "TEXT" else word for word in words))
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("error: ")
    assert re.search(expected, done.err)
    assert not list(tmp_path.iterdir())
