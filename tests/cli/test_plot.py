"""``char-rnn plot``: a file where it was asked for, and one line where there can be none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_helpers import Command
from matplotlib.figure import Figure

from char_rnn.runs import plots


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    """A run whose folder may be written to."""
    return shutil.copytree(run_folder, tmp_path / "poem")


def test_one_run(char_rnn: Command, run: Path) -> None:
    done = char_rnn("plot", run)
    assert (done.status, done.out, done.err) == (0, "", f"wrote {run / 'loss.png'}\n")
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert char_rnn("plot", run, "--quiet").err == ""


def test_several_runs(char_rnn: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "other")
    done = char_rnn("plot", "poem", "other", "poem/", "--x", "characters", "--smooth", 3, "--bits")
    assert (done.status, done.err) == (0, "wrote loss.png\n")
    assert char_rnn("plot", "poem", "other", "--out", "both.svg").err == "wrote both.svg\n"
    picture = Path("both.svg").read_text("utf-8")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["split"] == "test"
    assert picture.count(f", test {last['loss']:.4f}") == 2
    again = char_rnn("plot", "poem", "other", "--out", "again.svg")
    assert (again.status, Path("again.svg").read_text("utf-8")) == (0, picture)


def test_the_options_reach_the_picture(char_rnn: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def figure(histories: object, **options: object) -> Figure:
        given.update(options)
        return Figure()

    monkeypatch.setattr(plots, "loss_figure", figure)
    assert char_rnn("plot", run, "--x", "minutes", "--bits", "--smooth", 7).status == 0
    assert given == {"x": "minutes", "bits": True, "smooth": 7}


def test_what_is_left_out_is_said(char_rnn: Command, run: Path, tmp_path: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "split": "val", "loss": null}\n?\n{"step": 62, "event": "rollback"}\n{"st')
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "metrics.jsonl").touch()
    done = char_rnn("plot", run, empty, "--out", tmp_path / "loss.png")
    assert done.err.splitlines() == [
        f"{run}: not shown: NaN or infinite losses: 1",
        f"{run}: not shown: damaged lines of metrics.jsonl: 1",
        f"{empty}: not shown: no loss has been measured yet",
        f"wrote {tmp_path / 'loss.png'}",
    ]
    done = char_rnn("plot", empty)
    assert (done.status, done.err) == (1, f"error: {empty}: no loss has been measured yet\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: nowhere: not a run folder (no metrics.jsonl); give the folder that `--out` named"),
        (["poem", "."], "error: .: not a run folder"),
        (["poem/best.safetensors"], "error: poem/best.safetensors: not a run folder"),
        (["poem/best.safetensors", "--out", "a.png"], "error: poem/best.safetensors: not a run folder"),
        (["poem", "--out", "a.gif"], "a.gif: a picture's name must end in one of .png, .svg, .pdf"),
        (["poem", "--out", "a"], "a: a picture's name must end in one of .png, .svg, .pdf"),
        (["poem", "--out", "no/a.png"], "error: no: no such folder"),
        (["poem", "--x", "years"], "'years' is not one of"),
        (["poem", "--smooth", "0"], "0 is not in the range"),
        ([], "Missing argument 'RUN...'"),
    ],
)
def test_bad_input(
    char_rnn: Command, run: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(run.parent)
    assert char_rnn("plot", *arguments).refused(2, message)
    assert not list(run.parent.rglob("*.png"))
