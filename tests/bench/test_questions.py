"""Each question, on the smallest there is: figures that belong together, and reports that stay what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from char_rnn.bench import data, generation, ops, quality, training
from char_rnn.bench.questions import QUESTIONS, Settings, measure
from char_rnn.bench.report import Report, Table, shown
from char_rnn.bench.training_sides import SHAPES, Shape

TINY = Shape("lstm", 8, 1, 4, 8)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in SHAPES:
        monkeypatch.setitem(SHAPES, name, TINY)
    monkeypatch.setattr(training, "QUICK_STEPS", 3)
    monkeypatch.setattr("char_rnn.bench.sketch.WORKERS", 0)
    monkeypatch.setattr(generation, "QUICK_HIDDEN", (8,))
    monkeypatch.setattr(ops, "QUICK_HIDDEN", (8,))
    monkeypatch.setattr(data, "QUICK_MEGABYTES", 1)
    monkeypatch.setattr(quality, "QUICK_SECONDS", 0.3)
    monkeypatch.setattr(quality, "CHARACTERS", 40_000)
    return Settings(rounds=2, quick=True, folder=tmp_path)


def test_training(settings: Settings) -> None:
    said: list[str] = []
    report = measure("training", Settings(rounds=2, quick=True, progress=said.append, folder=settings.folder))
    steps, epochs = report.rows("a step"), report.rows("an epoch")
    assert [row["case"] for row in steps] == [f"{name}: {TINY}" for name in ("default", "quickstart")]
    for row in steps:
        assert min(row["bare"], row["sketch"], row["char-rnn"]) > 0
    for row, step in zip(epochs, steps, strict=True):
        assert row["char-rnn, predictions"] == 999_999
        assert row["sketch, predictions"] == (1_000_000 - 8) // 4 * 4 * 8
        assert row["sketch, minutes"] == pytest.approx(row["sketch, predictions"] / step["sketch"] / 60)
    assert said == [f"training, {TINY}"] * 2


def test_generation(settings: Settings) -> None:
    report = measure("generation", settings)
    rows = report.rows("one text")
    assert [row["precision"] for row in rows] == ["float32", "bfloat16", "int8"]
    assert all(row["loop"] > 0 and row["sketch"] > 0 and row["char-rnn"] > 0 for row in rows)
    [start] = report.rows("start")
    assert 0 < start["first character, s"] <= start["slowest, s"]
    assert start["resident MB"] > 10


def test_ops(settings: Settings) -> None:
    rows = measure("ops", settings).rows("layers")
    assert [(row["layer"], row["task"]) for row in rows] == [
        (layer, task) for layer in ("lstm", "gru after", "gru before", "rnn") for task in ("train", "step")
    ]
    assert all(row["PyTorch ms"] > 0 and row["ours ms"] > 0 for row in rows)


@pytest.mark.slow
def test_data(settings: Settings) -> None:
    report = measure("data", settings)
    assert [row["text"] for row in report.rows("texts")] == ["ascii, 1 MB", "mixed, 1 MB"]
    assert all(row["MB/s"] > 0 and row["batch / step, %"] > 0 for row in report.rows("texts"))
    [sketch] = report.rows("the sketch")
    assert sketch["bytes of memory a byte of text"] > 8


def test_quality(settings: Settings) -> None:
    rows = measure("quality", settings).rows("equal time")
    assert [row["side"] for row in rows] == ["char-rnn", "bare", "sketch"]
    assert all(row["steps"] > 0 and 0 < row["loss"] < 10 for row in rows)


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError):
        measure("nothing", Settings(threads=before + 1))
    assert torch.get_num_threads() == before


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = Report("training", "How fast?", [Table("a step", [{"case": "x", "bare": 1 / 3}], "note")], "command")
    report.write(tmp_path / "training.json")
    assert Report.read(tmp_path / "training.json") == report
    assert json.loads((tmp_path / "training.json").read_text())["machine"]["torch"] == torch.__version__
    with pytest.raises(KeyError):
        report.rows("another")


def test_figures_are_written_with_four_digits() -> None:
    assert [shown(value) for value in (0.123456, 12.3456, 123_456.7, 1_234, "x")] == [
        "0.1235", "12.35", "123,457", "1,234", "x",
    ]  # fmt: skip


def test_every_question_has_words() -> None:
    assert all(words.endswith("?") for words in QUESTIONS.values())
