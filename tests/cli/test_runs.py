"""``char-rnn runs``: a line a run for programs, a table for people, one line where there is nothing."""

from __future__ import annotations

import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cli_helpers import Command
from rich.console import Console

from char_rnn.cli.runs import CELLS, print_table
from char_rnn.model_file import ModelFile
from char_rnn.runs.listing import find_runs, summarize


@pytest.fixture
def three(run_folder: Path, tmp_path: Path) -> Path:
    """A folder with a finished run, one that has saved nothing, and a damaged one."""
    places = tmp_path / "here"
    for name in ("poem", "begun", "damaged"):
        shutil.copytree(run_folder, places / name)
    for path in (places / "begun").glob("*.safetensors"):
        path.unlink()
    (places / "damaged" / "last.safetensors").write_bytes(b"{")
    return places


def test_a_line_a_run_with_tabs(char_rnn: Command, three: Path, run_folder: Path) -> None:
    done = char_rnn("runs", three)
    assert (done.status, done.err) == (0, "")
    header, *lines = [line.split("\t") for line in done.out.splitlines()]
    runs = {Path(line[0]).name: dict(zip(header, line, strict=True)) for line in lines}
    assert list(runs) == ["begun", "damaged", "poem"]
    poem, facts = runs["poem"], ModelFile.read(run_folder).training
    assert (poem["run"], poem["model"], poem["data"]) == (str(three / "poem"), "lstm 1x8", "poem")
    loss = facts["best_val_loss"]
    assert (poem["val nats"], poem["val bits"]) == (f"{loss:.4f}", f"{loss / math.log(2):.4f}")
    assert (poem["epochs"], poem["minutes"]) == (f"{facts['epoch']:.4f}", f"{summarize(run_folder).minutes:.4f}")
    assert int(poem["best at"]) == facts["best_step"]
    assert int(poem["parameters"]) == ModelFile.read(run_folder).parameters
    assert (poem["steps"], poem["state"], poem["unit"]) == ("60", "finished", "character")
    assert (runs["begun"]["state"], runs["begun"]["val nats"], runs["begun"]["steps"]) == ("no model yet", "", "60")
    assert runs["damaged"]["state"].startswith("damaged: last.safetensors: not a model file")


def test_json(char_rnn: Command, three: Path) -> None:
    runs = json.loads(char_rnn("runs", three, "--json").out)
    assert [run["state"] for run in runs] == ["begun", "damaged", "finished"]
    summary = summarize(three / "poem")
    assert runs[2]["best_loss"] == summary.best_loss
    assert runs[2]["best_bits"] == summary.best_bits
    assert (runs[2]["size"], runs[2]["parameters"]) == (summary.size, summary.parameters)
    assert runs[0]["best_loss"] is None


def test_a_loss_on_a_part_of_the_split_is_marked(run_folder: Path) -> None:
    summary = summarize(run_folder)
    assert (summary.eval_characters, str(CELLS["val nats"](summary))) == (None, f"{summary.best_loss:.4f}")
    marked = replace(summary, eval_characters=1000)
    assert str(CELLS["val nats"](marked)) == f"~{summary.best_loss:.4f}"
    assert str(CELLS["val nats"](replace(marked, best_loss=None))) == ""


@pytest.mark.parametrize(
    ("order", "first"), [("name", "begun"), ("best", "damaged"), ("size", "poem"), ("time", "damaged")]
)
def test_order(char_rnn: Command, three: Path, order: str, first: str) -> None:
    runs = json.loads(char_rnn("runs", three, "--sort", order, "--json").out)
    assert (Path(runs[0]["run"]).name, len(runs)) == (first, 3)


def test_without_a_folder_it_looks_where_runs_are_made(
    char_rnn: Command, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.rename(three.parent / "runs")
    monkeypatch.chdir(three.parent)
    assert [line.split("\t")[0] for line in char_rnn("runs").out.splitlines()[1:]] == [
        "runs/begun",
        "runs/damaged",
        "runs/poem",
    ]


def test_nothing_found(char_rnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["."]):
        done = char_rnn("runs", *arguments)
        assert (done.status, done.out) == (0, "")
        assert done.err.startswith("no runs found in ")
        assert len(done.err.splitlines()) == 1
    assert char_rnn("runs", "--json").out == "[]\n"


def test_a_place_that_is_not_there(char_rnn: Command, tmp_path: Path) -> None:
    done = char_rnn("runs", tmp_path / "nowhere")
    assert (done.status, done.out, done.err) == (2, "", f"error: {tmp_path / 'nowhere'}: no such folder\n")


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (55, ["data", "params", "epochs", "val bits", "best at", "minutes", "size"]),
        (80, ["epochs", "val bits", "best at", "size"]),
        (200, []),
    ],
)
def test_the_table_has_the_columns_that_fit(
    three: Path, monkeypatch: pytest.MonkeyPatch, width: int, left_out: list[str]
) -> None:
    monkeypatch.chdir(three)
    runs = [summarize(folder) for folder in find_runs()]
    out = io.StringIO()
    print_table(runs, Console(file=out, width=width, force_terminal=False, highlight=False))
    lines = out.getvalue().splitlines()
    table = [line for line in lines if not line.startswith("damaged: ")]
    assert max(map(len, table)) <= width
    poem = runs[-1]
    heading = "".join(table[:3])
    assert [name for name in CELLS if name not in heading] == left_out
    for words in ("lstm 1x8", f"{poem.best_loss:.4f}", "finished", "no model yet", "damaged"):
        assert words in out.getvalue()
    for name, words in (("params", f"{poem.parameters:,}"), ("val bits", f"{poem.best_bits:.4f}"), ("size", " kB")):
        assert (words in out.getvalue()) == (name not in left_out)
    assert "…" not in out.getvalue()
    assert sum("poem" in line for line in table) == (1 if "data" in left_out else 3)  # the others are of a poem too
    assert any(line.startswith("damaged: last.safetensors: not a model file") for line in lines)
