"""A sweep's folder says what is swept there, and is no other sweep's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from training_helpers import rose_config

from char_rnn.runs import SWEEP
from char_rnn.sweep.grid import SweepError, read_sweep
from char_rnn.sweep.running import SweepResult, sweep
from char_rnn.utils.config import Config

GRID = {"training.learning_rate": [0.01, 0.02], "training.seed": [1, 2]}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return rose_config(tmp_path)


def prepared(config: Config, grid: dict[str, list[Any]], folder: Path | None = None) -> SweepResult:
    """A sweep that is stopped before its first run."""
    return sweep(config, grid, folder, stop=lambda: True)


def test_the_folder_says_what_is_swept(config: Config, tmp_path: Path) -> None:
    prepared(config, GRID, tmp_path / "sweep")
    first, grid = read_sweep(tmp_path / "sweep")
    assert grid == GRID
    assert (first.training.learning_rate, first.training.seed) == (0.01, 1)
    assert (first.training.max_steps, first.data.data_dir) == (12, str(tmp_path / "rose.txt"))
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == [SWEEP]
    assert prepared(first, grid, tmp_path / "sweep").folder == tmp_path / "sweep"


def test_texts_in_the_grid_are_found_from_any_folder(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.txt").write_text("another rose " * 40)
    monkeypatch.chdir(tmp_path)
    found = sweep(config, {"data.data_dir": ["rose.txt", "other.txt"]}, "sweep")
    assert sorted(run.name for run in found.runs) == ["data_dir=other.txt", "data_dir=rose.txt"]
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    again = sweep(*read_sweep("../sweep"), "../sweep")
    assert [(run.name, run.finished) for run in again.runs] == [(run.name, True) for run in found.runs]


def test_the_file_is_json_of_the_whole_configuration(config: Config, tmp_path: Path) -> None:
    prepared(config, GRID, tmp_path / "sweep")
    content = json.loads((tmp_path / "sweep" / SWEEP).read_text())
    whole = config.model_dump(mode="json")
    assert content["config"].keys() == whole.keys()
    assert content["config"]["model"] == whole["model"]


def test_without_a_folder_the_same_sweep_finds_its_own(config: Config, tmp_path: Path) -> None:
    other = {"training.seed": [3]}
    folders = [sweep(config, grid).folder for grid in (GRID, other, GRID, other)]
    assert [folder.name for folder in folders] == ["rose-sweep", "rose-sweep-2"] * 2
    assert folders[0].parent == tmp_path / "runs"


@pytest.mark.parametrize(
    ("change", "grid", "words"),
    [
        ({"max_steps": 13}, GRID, r"its training\.max_steps is 12, not 13"),
        ({}, {"training.seed": [1, 2]}, r"its grid is training\.learning_rate=0\.01,0\.02 training\.seed=1,2, not "),
    ],
)
def test_the_folder_of_another_sweep_is_refused(
    config: Config, tmp_path: Path, change: dict[str, Any], grid: dict[str, list[Any]], words: str
) -> None:
    prepared(config, GRID, tmp_path / "sweep")
    other = config.model_copy(update={"training": config.training.model_copy(update=change)})
    with pytest.raises(SweepError, match=f"contains another sweep: {words}"):
        prepared(other, grid, tmp_path / "sweep")


def test_a_folder_of_something_else_is_refused(config: Config, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(SweepError, match="something other than a sweep"):
        prepared(config, GRID, tmp_path / "mine")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"[]", "damaged"),
        (b'{"format": "char-rnn sweep", "version": 1, "grid": []}', "damaged"),
        (b'{"format": "char-rnn sweep", "version": 1, "grid": {"training.seed": 1}}', "not the file of a sweep"),
        (b'{"format": "char-rnn sweep", "version": 2, "grid": {}}', "later char-rnn"),
        (b'{"format": "char-rnn sweep", "version": "x", "grid": {}}', "damaged"),
        (
            b'{"format": "char-rnn sweep", "version": 1, "grid": {"a": [1]}}',
            f"{SWEEP}: grid: must be section.key=value",
        ),
        (b'{"format": "char-rnn sweep", "version": 1, "grid": {"model.typ": [1]}}', f"{SWEEP}: grid: unknown key"),
        (b'{"format": "char-rnn sweep", "version": 1, "grid": {}}', "must be a mapping of sections; given null"),
    ],
)
def test_a_file_that_is_no_sweeps_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # messages shorten long paths
    Path(SWEEP).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_sweep(".")
