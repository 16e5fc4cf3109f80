"""The suites on the smallest cases, and their reports."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import char_rnn.ops
from char_rnn.bench import data, generation, ops, peers, quality, training
from char_rnn.bench.baselines import BareLoop, Shape, batches_of, config_of, text_of
from char_rnn.bench.data import write_text
from char_rnn.bench.ops import check
from char_rnn.bench.peers import Peer, PeerError
from char_rnn.bench.suites import SUITES, ResultTable, Settings, SuiteResult, describe, load_numpy, measure, shown
from char_rnn.bench.training import Case
from char_rnn.machine import describe_machine
from char_rnn.models import build_model

TINY = Shape("lstm", 8, 1, 4, 8)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    text = tmp_path / "text.txt"
    text.write_text("The rose is red, the violet blue.\n" * 400, encoding="utf-8")
    return Settings(rounds=1, quick=True, text=str(text))


def numbers(report: SuiteResult) -> list[float]:
    return [cell for table in report.tables for row in table.rows for cell in row.values() if isinstance(cell, float)]


def plausible(report: SuiteResult, question: str, settings: Settings) -> None:
    """Hold a report to what every one has."""
    assert report.question == question
    assert report.title == SUITES[question]
    assert report.command == settings.command(question)
    assert report.machine["threads"] == settings.threads
    assert all(0 <= number < 1e12 for number in numbers(report))
    assert all(len({tuple(row) for row in table.rows}) == 1 for table in report.tables)


TINY_CASES = {"2x128": Case(TINY, 3, {"float32": {}, "bfloat16": {"training": {"precision": "bfloat16"}}}, 1)}


def test_training(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(training, "SHAPES", {"default": TINY})
    monkeypatch.setattr(training, "QUICK_STEPS", 3)
    monkeypatch.setattr(training, "CASES", TINY_CASES)
    monkeypatch.setattr(training, "in_own_process", lambda _, **arguments: training.speeds(**arguments))
    told: list[str] = []
    settings = replace(settings, progress=told.append)
    report = measure("training", settings)
    plausible(report, "training", settings)
    assert told == [f"training, {TINY}, beside the bare loop: float32, bfloat16", f"training, {TINY}"]
    measured = report.rows("over the bare loop")
    assert [(row["trainer"], row["threads"]) for row in measured] == [("float32", 1), ("bfloat16", 1)]
    for row in measured:  # of one round
        assert row["over K"] == pytest.approx(row["char-rnn K"] / row["bare K"])
        assert row["over D"] == pytest.approx(row["char-rnn K"] / row["bare D"])
    [step] = report.rows("a step")
    assert step["char-rnn / bare"] == pytest.approx(step["char-rnn"] / step["bare"])
    one_case = replace(settings, cases=["2x128"], threads=2)  # more than the case's most
    assert [table.name for table in measure("training", one_case).tables] == ["over the bare loop"]
    assert one_case.command("training").endswith(" --case=2x128")


@pytest.mark.slow
def test_generation(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(generation, "QUICK_HIDDEN", (8,))
    monkeypatch.setattr(generation, "HIDDEN", (8,))
    monkeypatch.setattr(generation, "COMMAND_CHARACTERS", 5000)
    report = measure("generation", settings)
    plausible(report, "generation", settings)
    assert [row["precision"] for row in report.rows("one text")] == ["float32", "bfloat16", "int8"]
    assert all(row[side] > 10 for row in report.rows("one text") for side in ("loop", "char-rnn"))
    [command] = report.rows("command line")
    assert command["sample / loop"] == pytest.approx(command["char-rnn sample"] / command["loop"])
    assert report.rows("start")[0]["slowest, s"] >= report.rows("start")[0]["first character, s"]


def test_texts_side_by_side(settings: Settings) -> None:
    rows = list(generation.together("lstm", 8, settings, (1, 3)))
    assert [row["texts"] for row in rows] == [1, 3]
    assert rows[1]["characters/s"] == pytest.approx(1e6 / rows[1]["µs a character"])


def test_ops(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(ops, "QUICK_HIDDEN", (4,))
    monkeypatch.setattr(ops, "LAYERS", {"gru before": ops.LAYERS["gru before"]})
    report = measure("ops", settings)
    plausible(report, "ops", settings)
    assert [row["task"] for row in report.rows("layers")] == ["train", "step"]


def test_a_wrong_layer_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    run_layer = char_rnn.ops.run_layer
    monkeypatch.setattr(char_rnn.ops, "run_layer", lambda *given: (run_layer(*given)[0] * 1.001, None))
    with pytest.raises(AssertionError, match="not close"):
        check("rnn")


def test_data(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(data, "QUICK_MEGABYTES", 1)
    monkeypatch.setattr(data, "SETTLED", 0)
    asked: list[str] = []

    def measured(function: str, *, file: str, cache: str, threads: int | None = None) -> dict[str, float]:
        part = function.removeprefix("char_rnn.bench.data:measure_")
        asked.append(part)
        assert Path(file).stat().st_size > 900_000
        names = {
            "prepare": ("prepare_mb_per_s", "prepare_peak_mb"),
            "warm": ("warm_first_batch_ms",),
            "epoch": ("epoch_characters_per_s", "epoch_peak_mb"),
            "batch": ("streams_percent_of_step", "windows_percent_of_step"),
        }
        return dict.fromkeys(names[part], 1.5)

    monkeypatch.setattr(data, "in_own_process", measured)
    plausible(measure("data", settings), "data", settings)
    assert asked == ["prepare", "warm", "epoch", "batch"] * 2


@pytest.mark.slow
def test_quality(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(quality, "QUICK_SECONDS", 1.0)
    report = measure("quality", settings)
    plausible(report, "quality", settings)
    own, bare = report.rows("equal time")
    assert [row["side"] for row in (own, bare)] == ["char-rnn", "bare"]
    assert all(row["steps"] > 0 and 0 < row["loss"] < 5 for row in (own, bare))


def test_the_bare_loop_is_the_model_that_it_is_compared_with() -> None:
    """Else its speed would be another work's."""
    shape = Shape("gru", 8, 2, 4, 8)
    loop, batches = BareLoop(shape), batches_of(text_of(shape, 2), shape)
    model = build_model(config_of(shape).model, 65)
    model.load_state_dict(loop.state_dict())
    x, y = batches[0]
    with torch.no_grad():
        expected = -model(x)[0].gather(-1, y[..., None]).mean()
    assert loop.step(x, y).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.slow
def test_peers_are_measured_beside_this_package(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(training, "QUICK_PEER_STEPS", (2, 4))
    monkeypatch.setattr(training, "QUICK_STEPS", 1)
    monkeypatch.setattr(training, "SHAPES", {"default": TINY})
    monkeypatch.setattr(training, "over_bare", lambda *_: [{"case": "left out"}])
    script = "import os, sys, time; assert not os.path.exists(sys.argv[2]); time.sleep(0.3 * int(sys.argv[1]))"
    peer = Peer("mine", (sys.executable, "-c", script, "{steps}", "{out}", "{text}"))
    own = Peer("char-rnn", (sys.executable, "-c", "import time; time.sleep(0.1 * {steps})"))
    monkeypatch.setattr(peers, "itself", lambda *_: own)
    settings = replace(settings, peers=[peer])
    report = measure("training", settings)
    plausible(report, "training", settings)
    first, second = report.rows("whole processes")
    assert [first["program"], second["program"]] == ["char-rnn", "mine"]
    assert second["char-rnn / it"] == pytest.approx(first["characters/s"] / second["characters/s"])
    assert shlex.split(report.command)[-1] == f"training:mine={shlex.join(peer.command)}"


def test_a_peer_that_fails_ends_it_before_anything_else(settings: Settings) -> None:
    peer = Peer("mine", (sys.executable, "-c", "raise SystemExit('no such thing')"), "generation")
    told: list[str] = []
    with pytest.raises(PeerError, match=r"mine: .* ended with status 1: no such thing"):
        measure("generation", replace(settings, peers=[peer], progress=told.append))
    assert told == ["writing, whole processes: char-rnn, mine"]


def test_the_number_of_threads_is_put_back(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def asked(settings: Settings) -> list[ResultTable]:
        seen.append(torch.get_num_threads())
        raise ValueError("stop")

    monkeypatch.setattr(ops, "measure", asked)
    with pytest.raises(ValueError, match="stop"):
        measure("ops", replace(settings, threads=before + 1))
    assert (seen, torch.get_num_threads()) == ([before + 1], before)
    with pytest.raises(KeyError, match="speed"):
        measure("speed", settings)


def test_loading_numpy_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "3"):
        if value is None:
            monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OPENBLAS_NUM_THREADS", value)
        load_numpy()
        assert os.environ.get("OPENBLAS_NUM_THREADS") == value


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = SuiteResult(
        "data", "How?", [ResultTable("a", [{"x": 1, "y": 0.1 + 0.2, "z": "é|"}], "a note"), ResultTable("b", [])], "c"
    )
    report.write(tmp_path / "report.json")
    read = SuiteResult.read(tmp_path / "report.json")
    assert read == report
    assert read.rows("a")[0]["y"] == 0.1 + 0.2
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(read.to_dict()))


def test_a_table_that_is_not_there_has_no_rows() -> None:
    assert SuiteResult("data", "How?", [ResultTable("a", [{"x": 1}])]).rows("b") == ()


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        SuiteResult("data", "How?", [ResultTable("a", [{"x": float("nan")}])]).write(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.123456, "0.1235"), (12345.6, "12,346"), (-12345.6, "-12,346"), (1234567, "1,234,567"), ("lstm", "lstm")],
)
def test_figures_are_rounded_for_people(value: object, words: str) -> None:
    assert shown(value) == words


def test_the_machine_is_named_in_a_line() -> None:
    machine = {**describe_machine(), "processor": None, "load": None, "threads": 1}
    line = describe(machine)
    assert line.startswith("unnamed processor, ")
    assert ", 1 thread; " in line
    assert f"PyTorch {machine['torch']}" in line
    assert "load" not in line
    assert describe({**machine, "load": 0.25}).endswith("; load 0.2 before")


def test_a_text_has_the_size_asked_for_and_is_always_the_same(tmp_path: Path) -> None:
    written = write_text(tmp_path / "a", 300_000)
    write_text(tmp_path / "b", 300_000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size == written
    assert 300_000 <= written < 1_000_000


def test_mixed_words_are_of_more_alphabets(tmp_path: Path) -> None:
    write_text(tmp_path / "a", 300_000, "mixed")
    text = (tmp_path / "a").read_text(encoding="utf-8")
    beyond = sum(not word.isascii() for word in text.split()) / len(text.split())
    assert 0.08 < beyond < 0.12
