"""A run is followed while its files grow, are cut back, or are damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from processes import locked
from runs_helpers import measured, record, saved

from char_rnn.runs import METRICS, SAMPLES
from char_rnn.runs.following import POINTS, Curve, RunFollower
from char_rnn.utils.files import replacing


def add(file: Path, records: Iterable[dict[str, Any]]) -> None:
    with file.open("a") as stream:
        stream.write("".join(json.dumps(each) + "\n" for each in records))


def test_a_finished_run(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", training={"max_steps": 250})
    add(run / SAMPLES, [{"step": 200, "text": "a rose"}, {"step": 250, "text": "é" * 5000}])
    progress = RunFollower(run).read()
    assert (progress.state, progress.step, progress.total_steps) == ("finished", 250, 250)
    assert (progress.epoch, progress.seconds, progress.seconds_left) == (2.5, 125, None)
    assert (progress.train, progress.val, progress.best) == ([(250, 1.25)], [(100, 2.0), (200, 1.5)], (200, 1.5))
    assert progress.samples == ((200, "a rose"), (250, "é" * 2000))


def test_a_run_that_is_training(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(100, "train", 3.0)], training={"max_steps": 1000})
    follower = RunFollower(run)
    assert follower.read().state == "interrupted"
    with locked(run):
        progress = follower.read()
        assert (progress.state, progress.step, progress.total_steps) == ("running", 100, 1000)
        assert (progress.seconds_left, progress.best, progress.val) == (None, None, [])
        add(run / METRICS, [record(200, "train", 2.0), record(200, "val", 2.5), record(300, "val", None)])
        progress = follower.read()
        assert (progress.step, progress.seconds, progress.seconds_left) == (300, 150, 350)
        assert (progress.train, progress.val, progress.best) == ([(100, 3.0), (200, 2.0)], [(200, 2.5)], (200, 2.5))


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(100, "train", 3.0)])
    follower = RunFollower(run)
    follower.read()
    line = json.dumps(record(200, "train", 2.0)) + "\n"
    with (run / METRICS).open("a") as stream:
        stream.write("garbage\n" + line[:9])
        stream.flush()
        assert follower.read().step == 100
        stream.write(line[9:])
        stream.flush()
        assert follower.read().train == [(100, 3.0), (200, 2.0)]


def test_records_that_are_cut_back_are_forgotten(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(step, "val", 9 - step / 100) for step in (100, 200, 300)])
    add(run / SAMPLES, [{"step": step, "text": str(step)} for step in (100, 300)])
    follower = RunFollower(run)
    assert follower.read().best == (300, 6.0)
    for name, records in ((METRICS, [record(100, "val", 8.0)]), (SAMPLES, [{"step": 100, "text": "100"}])):
        with replacing(run / name) as temporary:
            add(temporary, records)
    progress = follower.read()
    assert (progress.step, progress.val, progress.best) == (100, [(100, 8.0)], (100, 8.0))
    assert progress.samples == ((100, "100"),)
    for name in (METRICS, SAMPLES):
        (run / name).unlink()
    progress = follower.read()
    assert (progress.step, progress.val, progress.best, progress.samples) == (0, [], None, ())


def test_numbers_that_are_too_large_are_ignored(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(100, "train", 3.0)])
    huge = [{**record(200, "train", 1e308), name: 1e999} for name in ("seconds", "epoch", "loss")]
    add(run / METRICS, huge * 2 * POINTS)
    progress = RunFollower(run).read()
    assert (progress.train, progress.step, progress.seconds, progress.epoch) == ([(100, 3.0)], 200, 100, 2.0)


def test_the_time_left_is_not_negative(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(step, "train", 3.0) for step in (100, 300)], training={"max_steps": 200})
    with locked(run):
        assert RunFollower(run).read().seconds_left == 0


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [record(step, "train", 1.0) for step in range(50)])
    follower = RunFollower(run)
    with patch("char_rnn.runs.following.PIECE", 1000):
        steps = [follower.read().step for _ in range(6)]
    assert steps == sorted(steps)
    assert 0 < steps[0] < 20
    assert steps[-1] == 49


def test_a_long_run_has_few_points() -> None:
    curve = Curve()
    for step in range(1, 10_001):
        curve.add(step, step / 100)
    points = curve.points()
    assert POINTS <= len(points) <= 2 * POINTS
    assert points[0] == (16, 0.165)  # the mean of the first 32
    for (step, loss), (later, _) in pairwise(points):
        assert loss == pytest.approx(step / 100, abs=0.006)
        assert step < later
    assert points[-1][0] > 9980


def test_a_file_that_is_not_a_file(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [])
    (run / METRICS).unlink()
    (run / METRICS).mkdir()
    with pytest.raises(IsADirectoryError):
        RunFollower(run).read()
