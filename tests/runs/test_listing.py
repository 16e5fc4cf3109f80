"""Runs are found, and told of without reading their weights, whatever is wrong with them."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from runs_helpers import measured, record, saved

from char_rnn.cells import CELLS, Cell, Value
from char_rnn.runs import CONFIG, STATE
from char_rnn.runs.history import read_history
from char_rnn.runs.listing import find_runs, summarize
from char_rnn.runs.plots import loss_figure, save_figure
from char_rnn.utils.config import ConfigError, load_config
from char_rnn.utils.model_files import BEST, LAST


def test_a_finished_run(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", training={"max_steps": 250})
    summary = summarize(run)
    assert (summary.state, summary.problem, summary.folder) == ("finished", None, run)
    assert (summary.model, summary.parameters, summary.data) == ("gru 3x24", 40, "garden")
    assert (summary.steps, summary.total_steps, summary.epochs) == (250, 250, 2.5)
    assert (summary.best_loss, summary.best_step, summary.unit) == (1.5, 200, "character")
    assert summary.best_bits == pytest.approx(1.5 / math.log(2), rel=1e-15)
    assert (summary.seconds, summary.minutes) == (125, pytest.approx(125 / 60))
    files = [path for path in run.iterdir() if path.is_file()]
    assert summary.size == sum(path.stat().st_size for path in files)
    assert summary.changed == max(path.stat().st_mtime for path in files)


@pytest.mark.parametrize(
    ("training", "plan", "state", "total"),
    [
        ({"max_epochs": 4}, None, "unfinished", 400),
        ({"max_epochs": 2}, None, "finished", 200),
        ({"max_steps": 300, "max_epochs": 9}, None, "unfinished", 300),
        ({"max_steps": 900, "horizons": [[0, 270]]}, None, "unfinished", 270),
        ({"minutes": 5}, {"horizons": [[1, 900], [20, 260]]}, "unfinished", 260),
        ({"minutes": 5}, {"horizons": [[1, 250]]}, "finished", 250),
        ({"minutes": 5}, {"horizons": []}, "unfinished", None),
        ({"max_epochs": 4, "patience": 3}, {"stale": 2}, "unfinished", 400),
        ({"max_epochs": 4, "patience": 3}, {"stale": 3}, "finished", 400),
        ({"minutes": 5, "patience": 3}, {"stale": 3, "horizons": [[1, 900]]}, "finished", 900),
    ],
)
def test_where_a_run_ends(
    tmp_path: Path, training: dict[str, object], plan: object, state: str, total: int | None
) -> None:
    summary = summarize(saved(tmp_path / "run", plan=plan, training=training))
    assert (summary.state, summary.total_steps, summary.problem) == (state, total, None)


def test_a_run_at_work_has_come_as_far_as_its_last_record(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", training={"max_steps": 280})
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 280, "split": "train", "loss": 1.0, "epoch": 2.8, "seconds": 140.0}\n{"st')
    summary = summarize(run)
    assert (summary.steps, summary.epochs, summary.seconds) == (280, 2.8, 140)
    assert summary.state == "unfinished"  # nothing of the end is saved


def test_a_run_that_has_saved_nothing(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(50, "train", 2.0)], data={"data_dir": "texts/rose.txt"})
    summary = summarize(run)
    assert (summary.state, summary.problem, summary.model, summary.data) == ("begun", None, "lstm 2x128", "rose.txt")
    assert (summary.steps, summary.total_steps, summary.parameters, summary.best_loss) == (50, 5000, None, None)


@pytest.mark.parametrize("name", [BEST, LAST, STATE, CONFIG])
@pytest.mark.parametrize("damage", ["cut", "empty", "folder"])
def test_what_is_wrong_is_told(tmp_path: Path, name: str, damage: str) -> None:
    run = saved(tmp_path / "run", training={"max_steps": 250})
    content = (run / name).read_bytes()
    (run / name).unlink()
    if damage == "folder":
        (run / name).mkdir()
    else:
        (run / name).write_bytes(content[: len(content) * 3 // 4 - 5] if damage == "cut" else b"")
    if name == CONFIG and damage != "folder":
        (run / name).write_text("model: {kind: lstm}")
    summary = summarize(run)
    assert summary.state == "damaged"
    assert summary.problem is not None
    assert summary.problem.startswith(name)
    assert "\n" not in summary.problem
    assert summary.model == "gru 3x24"
    assert (summary.best_loss, summary.parameters, summary.steps) == (1.5, 40, 250)


def test_the_cell_of_another_program_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell of the user's own is defined in the program that trains; listing and plotting run in another."""

    class Remembered(Cell):
        name = "remembered"
        gates = 1

        def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
            return (p.weight_ih @ x + p.weight_hh @ state[0],)

    sections = {"model": {"type": Remembered.name, "hidden_size": 24}, "data": {"vocabulary": "bytes"}}
    run = saved(tmp_path / "run", training={"max_steps": 250}, **sections)
    begun = measured(tmp_path / "begun", [], **sections)
    (begun / "metrics.jsonl").unlink()
    monkeypatch.delitem(CELLS, Remembered.name)
    assert find_runs([tmp_path]) == [begun, run]
    summary = summarize(run)
    assert (summary.state, summary.problem, summary.model) == ("finished", None, "remembered 2x24")
    assert (summary.unit, summary.best_loss, read_history(run).unit) == ("byte", 1.5, "byte")
    assert (summarize(begun).state, summarize(begun).model) == ("begun", "remembered 2x24")
    save_figure(loss_figure([read_history(run)], x="characters"), tmp_path / "loss.png")
    with pytest.raises(ConfigError, match="given 'remembered'; to use a cell of your own, import its module first"):
        load_config(run / CONFIG)
    (run / CONFIG).write_text("model: {type: remembered, hidden_size: 0}")
    assert summarize(run).state == "damaged"


def test_a_model_without_its_configuration(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    (run / "config.yaml").unlink()
    summary = summarize(run)
    assert (summary.state, summary.problem, summary.best_loss) == ("damaged", "no config.yaml", 1.5)


def test_runs_are_found_once_and_not_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/a", "runs/b/c/d", "runs/b/c/too/deep", "checkpoints/e", "beside", "far/away", "runs/.hidden"):
        saved(Path(name))
    measured(Path("runs/begun"), [])
    (Path("runs/begun") / "metrics.jsonl").unlink()
    (Path("runs") / "latest").symlink_to("a")
    (Path("runs") / "round").symlink_to(".")
    Path("runs/other").mkdir()
    (Path("runs/other") / "config.yaml").write_text("jobs: 3\n")
    (Path("runs/other") / "metrics.jsonl.bak").touch()
    assert [str(run) for run in find_runs()] == ["beside", "checkpoints/e", "runs/a", "runs/b/c/d", "runs/begun"]
    assert [str(run) for run in find_runs(["runs/b", tmp_path / "far"])] == [
        str(tmp_path / "far/away"),
        "runs/b/c/d",
        "runs/b/c/too/deep",
    ]
    assert find_runs(["runs/a"]) == [Path("runs/a")]


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no such folder"), ("file", "is a file, not a folder")])
def test_a_place_that_is_no_folder(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=message):
        find_runs([tmp_path / name])


def test_weights_are_not_read(tmp_path: Path) -> None:
    """Of a model file with a hole of 3 GiB for its weights the header is enough."""
    import json
    import struct

    run = saved(tmp_path / "run")
    content = (run / LAST).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    numbers = 3 << 28
    header = {"__metadata__": header["__metadata__"]} | {
        "x": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}
    }
    encoded = json.dumps(header).encode()
    (run / LAST).write_bytes(struct.pack("<Q", len(encoded)) + encoded)
    os.truncate(run / LAST, 8 + len(encoded) + 4 * numbers)
    assert summarize(run).parameters == numbers
    shutil.rmtree(run)


@pytest.mark.slow
def test_looking_at_runs_loads_no_torch(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    script = (
        "import sys\n"
        "from char_rnn.runs.listing import find_runs, summarize\n"
        "from char_rnn.runs.plots import loss_figure\n"
        "from char_rnn.runs.history import read_history\n"
        "print([summarize(run).best_loss for run in find_runs(sys.argv[1:])])\n"
        "loss_figure([read_history(sys.argv[1])])\n"
        "print(sorted({'torch', 'tensorboard', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, run], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[1.5]", "[]"]
