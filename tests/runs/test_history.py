"""What a run measured, read back: whole, cut short, and of damaged lines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_helpers import measured, record

from char_rnn.runs.history import Measurement, last_record, read_history


def test_measurements_by_split_and_the_best(tmp_path: Path) -> None:
    run = measured(
        tmp_path / "run",
        [
            record(10, "train", 3.5),
            record(20, "val", 2.5),
            {"step": 25, "event": "rollback", "to": 20},
            {"step": 26, "event": "something else"},
            record(30, "val", 2.25),
            record(40, "val", None),
            record(50, "val", 2.25),
            record(50, "test", 2.75),
        ],
        data={"vocabulary": "bytes"},
    )
    history = read_history(run)
    assert history.points["train"] == [Measurement(10, 0.1, 5.0, 3.5)]
    assert [point.loss for point in history.points["val"]] == [2.5, 2.25, math.inf, 2.25]
    assert history.finite("test") == [Measurement(50, 0.5, 25.0, 2.75)]
    assert history.best == Measurement(30, 0.3, 15.0, 2.25)
    assert (history.rollbacks, history.infinite, history.unreadable, history.unit) == ([25], 1, 0, "byte")


def test_only_the_last_line_may_be_cut_short(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", [])
    lines = [json.dumps(record(1, "train", 2.0)), "{", "[1]", '{"split": "val"}', json.dumps(record(2, "train", 1.0))]
    (run / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 3, "lo']))
    history = read_history(run)
    assert [point.step for point in history.finite("train")] == [1, 2]
    assert history.unreadable == 3
    assert last_record(run / "metrics.jsonl") == record(2, "train", 1.0)


@given(st.binary(max_size=200), st.integers(1, 300))
def test_no_file_is_too_odd(tmp_path_factory: pytest.TempPathFactory, content: bytes, reach: int) -> None:
    run = tmp_path_factory.mktemp("run")
    (run / "metrics.jsonl").write_bytes(content + b'\n{"step": 1e400}\n{"step": -1}\n' + b"[" * 5000)
    assert read_history(run).best is None
    assert last_record(run / "metrics.jsonl", reach) is None


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        read_history(tmp_path)
