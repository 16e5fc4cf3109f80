"""Trackers: what they get, where a resumed run continues, and that their failures do not stop the training."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from training_helpers import Breaks, Callback, rose_config, small_config, timeless

from char_rnn import train
from char_rnn.training import CharRNNTrainer
from char_rnn.training.checkpoints import read_state
from char_rnn.training.run import RunContext, start_run
from char_rnn.training.tracker import TrackerMissingError, TrackioWriter, tracker_callbacks

MakeTrainer = Callable[..., CharRNNTrainer]


class Fails(Callback):
    """Ends the training with an error after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        if trainer.step == self.at:
            raise ValueError("boom")


def config_of(tracker: str, **training: Any) -> Any:
    logging = {"tracker": tracker, "log_interval": 2, "save_interval": 5, "sample_length": 5}
    return small_config(training={"max_steps": 14, "eval_interval": 7, **training}, logging=logging)


def interrupted_and_resumed(make_trainer: MakeTrainer, run: Path, tracker: str) -> None:
    """Train to an error at step 13, then from the last checkpoint, at step 10, to the end."""
    run.mkdir(exist_ok=True)
    options: dict[str, Any] = {"run_dir": run, "sample": lambda model: "a <rose>\n is \ud800"}
    with pytest.raises(ValueError, match="boom"):
        make_trainer(config_of(tracker), callbacks=[Fails(13)], **options).train()
    again = make_trainer(config_of(tracker), **options)
    again.load_state_dict(read_state(run))
    assert again.step == 10
    again.train()


def records_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A package like trackio that stores the calls, and refuses names of other runs."""
    module = SimpleNamespace(calls=[], sent=[], Html=str, Api=lambda: SimpleNamespace(runs=lambda project: []))

    def init(**options: Any) -> SimpleNamespace:
        module.calls.append(options)
        return SimpleNamespace(
            id="7", name=options["name"], log=lambda values, step: module.sent.append((step, values))
        )

    module.init, module.finish = init, lambda: module.calls.append({"finished": True})
    monkeypatch.setitem(sys.modules, "trackio", module)
    return module


@pytest.mark.parametrize("spec", [None, SimpleNamespace(origin=None)], ids=["missing", "a folder of this name"])
@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_a_missing_package_is_reported_before_the_text_is_read(
    tracker: str, spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    message = (
        rf"^logging.tracker {tracker} needs {tracker}: pip install 'char-rnn-pytorch\[{tracker}\]',"
        r" or set logging.tracker to none$"
    )
    with pytest.raises(TrackerMissingError, match=message):
        train(tmp_path / "no text", tmp_path / "run", settings={"logging.tracker": tracker})
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_sends_each_step_once(make_trainer: MakeTrainer, fake: SimpleNamespace, tmp_path: Path) -> None:
    interrupted_and_resumed(make_trainer, tmp_path / "book", "trackio")
    first, _, second, _ = fake.calls
    assert (first["project"], first["name"], first["group"], first["resume"]) == ("char-rnn", "book", None, "never")
    assert (second["name"], second["resume"]) == ("book", "allow")
    assert first["config"]["model"]["hidden_size"] == 12
    assert "suggested_primes" not in first["config"]["generation"], "they are words of the text"
    assert (first["config"]["parameters"], first["config"]["metadata"]["data"]) == (3060, "garden")
    assert [step for step, values in fake.sent if "loss/train" in values] == [2, 4, 6, 8, 10, 12, 14]
    assert [step for step, values in fake.sent if "loss/val" in values] == [7, 14]
    assert fake.sent[0][1].keys() >= {"training/learning_rate", "training/characters_per_second", "memory/rss"}
    samples = [(step, values["sample"]) for step, values in fake.sent if "sample" in values]
    page = '<pre style="white-space: pre-wrap">a &lt;rose&gt;\n is &#55296;</pre>'
    assert samples == [(7, page), (14, page)]


@pytest.mark.slow
def test_what_a_tracker_lost_is_sent_when_the_run_is_resumed(
    make_trainer: MakeTrainer, fake: SimpleNamespace, tmp_path: Path
) -> None:
    interrupted_and_resumed(make_trainer, tmp_path, "none")
    more = make_trainer(config_of("trackio", max_steps=16), run_dir=tmp_path)
    more.load_state_dict(read_state(tmp_path))
    more.train()
    assert [step for step, values in fake.sent if "loss/train" in values] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert [step for step, values in fake.sent] == sorted(step for step, values in fake.sent)


def test_steps_that_are_repeated_after_a_rollback_are_sent_once(
    make_trainer: MakeTrainer, fake: SimpleNamespace, tmp_path: Path
) -> None:
    make_trainer(config_of("trackio"), run_dir=tmp_path, callbacks=[Breaks(8)]).train()
    assert any(record.get("failed_step") == 9 for record in records_of(tmp_path))
    assert [step for step, values in fake.sent if "loss/train" in values] == [2, 4, 6, 8, 10, 12, 14]


def test_a_run_that_replaces_another_is_another_run(
    fake: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin="a package"))
    config = rose_config(tmp_path)
    config.logging.tracker, config.logging.log_interval = "trackio", 1
    with pytest.raises(ValueError, match="boom"):
        start_run(config, tmp_path / "run", context=RunContext(callbacks=[Fails(3)])).train()
    start_run(config, tmp_path / "run").train()
    assert [call["resume"] for call in fake.calls if "resume" in call] == ["never", "never"]
    assert [step for step, values in fake.sent if "loss/train" in values] == [1, 2, *range(1, 13)]


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["init", "finish", "Html"])
def test_a_tracker_that_fails_does_not_stop_the_training(
    broken: str, fake: SimpleNamespace, make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nnetwork")

    for name in ("none", "trackio"):
        setattr(fake, broken, fail)
        (tmp_path / name).mkdir()
        make_trainer(config_of(name), run_dir=tmp_path / name, sample=lambda model: "a").train()
    assert timeless(tmp_path / "none") == timeless(tmp_path / "trackio")
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == ["trackio failed; the run continues without it: no network"]
    assert fake.calls.count({"finished": True}) == (broken != "finish")


@pytest.mark.slow
def test_a_damaged_file_starts_a_new_run(make_trainer: MakeTrainer, fake: SimpleNamespace, tmp_path: Path) -> None:
    for content in ("{", "[]", '{"trackio": 5}', '{"trackio": {"project": "another", "id": "7", "name": "x"}}'):
        (tmp_path / "tracker.json").write_text(content)
        make_trainer(config_of("trackio", max_steps=2), run_dir=tmp_path).train()
    assert [call["resume"] for call in fake.calls if "resume" in call] == 4 * ["never"]


def test_a_run_of_the_same_name_is_another_run(fake: SimpleNamespace, tmp_path: Path) -> None:
    taken = ["book", "book-2"]
    fake.Api = lambda: SimpleNamespace(runs=lambda project: [SimpleNamespace(name=name) for name in taken])
    writer = TrackioWriter(tmp_path / "book", config_of("trackio").logging)
    writer.module = fake
    writer.open({}, {"project": "char-rnn"})
    assert fake.calls[0]["name"] == "book-3"


def test_only_the_process_with_a_run_folder_has_a_tracker() -> None:
    assert list(tracker_callbacks(None, config_of("wandb").logging)) == []


@pytest.mark.slow
def test_the_runs_of_a_sweep_are_a_group(
    fake: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from char_rnn.sweep import sweep

    config, grid = rose_config(tmp_path), {"training.seed": [1, 2]}
    config.logging.tracker = "trackio"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrackerMissingError):
        sweep(config, grid, tmp_path / "seeds")
    assert not (tmp_path / "seeds").exists()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin="a package"))
    result = sweep(config, grid, tmp_path / "seeds")
    assert [run.failure for run in result.runs] == [None, None]
    starts = [call for call in fake.calls if "group" in call]
    assert [(call["group"], call["name"]) for call in starts] == [("seeds", "seed=1"), ("seeds", "seed=2")]


@pytest.mark.slow
def test_trackio(make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # which it reads when it is imported
    trackio = pytest.importorskip("trackio", reason="needs trackio")
    from trackio.sqlite_storage import SQLiteStorage

    interrupted_and_resumed(make_trainer, tmp_path / "book", "trackio")
    [run] = trackio.Api().runs("char-rnn")
    assert run.name == "book"
    assert run.config["training"]["max_steps"] == 14
    logs = SQLiteStorage.get_logs("char-rnn", "book")
    sent = [(log["step"], tag, log[tag]) for log in logs for tag in log if tag.startswith("loss/")]
    assert sent == [(r["step"], f"loss/{r['split']}", r["loss"]) for r in records_of(tmp_path / "book")]
    assert [step for step, *_ in sent] == [2, 4, 6, 7, 8, 10, 12, 14, 14, 14]
    assert [log["sample"]["_type"] for log in logs if "sample" in log] == 2 * ["trackio.html"]
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_wandb(make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("wandb", reason="needs wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    interrupted_and_resumed(make_trainer, tmp_path / "book", "wandb")
    files = sorted((tmp_path / "book/wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    first, second = [list(records_of_wandb(file)) for file in files]
    assert first[0].run.run_id == second[0].run.run_id
    assert (first[0].run.display_name, first[0].run.project) == ("book", "char-rnn")
    assert {item.key: json.loads(item.value_json) for item in first[0].run.config.update}["parameters"] == 3060
    assert [r.exit.exit_code for r in first + second if r.HasField("exit")] == [1, 0]
    rows = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in first + second
        if record.HasField("history")
    ]
    assert [row["_step"] for row in rows] == [2, 4, 6, 7, 8, 10, 12, 14]
    assert [row["_step"] for row in rows if "sample/path" in row] == [7, 14]
    records = records_of(tmp_path / "book")
    assert [row[f"loss/{r['split']}"] for r in records for row in rows if row["_step"] == r["step"]] == [
        r["loss"] for r in records
    ]
    assert capsys.readouterr().out == ""
    sent = b"".join(file.read_bytes() for file in files)
    assert sys.executable.encode() not in sent, "the command line, with its paths, is not sent"


def records_of_wandb(path: Path) -> Iterator[Any]:
    """Yield the records of a ``.wandb`` file, a LevelDB log after a header of 7 bytes, from that of the run on."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, begun = path.read_bytes(), 7, False
    whole = b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no part of a record begins so near to the end of a block
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record.FromString(whole)
            whole, begun = b"", begun or record.HasField("run")
            if begun:
                yield record
