"""Callbacks: the records in ``metrics.jsonl`` and TensorBoard, and cutting them back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from training_helpers import Log, small_config

from char_rnn.training import CharRNNTrainer
from char_rnn.training.callbacks import MetricsWriter, SamplesWriter

MakeTrainer = Callable[..., CharRNNTrainer]


def test_metrics_are_cut_back_after_a_torn_line(tmp_path: Path) -> None:
    file = MetricsWriter(tmp_path / "metrics.jsonl")
    assert file.read() == []
    for step in (10, 20, 30):
        file.on_record({"step": step, "split": "train", "loss": 1 / 3})
        file.on_record({"step": step, "split": "val", "loss": 0.5})
    with file.path.open("a") as stream:
        stream.write('{"step": 40, "lo')
    file.cut_back(20, ("train", "val"))
    assert [(r["step"], r["split"]) for r in file.read()] == [(10, "train"), (10, "val"), (20, "train"), (20, "val")]
    file.cut_back(20, ("train",))
    assert [(r["step"], r["split"]) for r in file.read()] == [(10, "train"), (10, "val"), (20, "train")]
    assert file.read()[0]["loss"] == 1 / 3


def test_damaged_lines_are_skipped_and_later_records_remain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = MetricsWriter(tmp_path / "metrics.jsonl")
    records = [b'{"step": %d, "split": "train", "loss": 0.10}' % step for step in (1, 2, 3)]
    damage = [b"garbage", b"[]", b'{"step": "x", "split": "train"}', b'{"step": NaN}', b'{"split": "val"}', b"\xff\n7"]
    file.path.write_bytes(b"\n".join([records[0], *damage, *records[1:], b'{"step": 3, "other": [NaN]}']))
    assert [r["step"] for r in file.read()] == [1, 2, 3, 3]
    with caplog.at_level("WARNING", "char_rnn"):
        file.cut_back(3, ("train",))
    assert file.path.read_bytes() == b"".join(record + b"\n" for record in records)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file.path}: damaged; skipped 7 lines that are not records"
    ]


def test_metrics_are_json_even_at_infinity(tmp_path: Path) -> None:
    file = MetricsWriter(tmp_path / "metrics.jsonl")
    file.on_record({"step": 1, "split": "val", "perplexity": math.inf, "gradient_norm": math.nan})
    assert file.path.read_text() == '{"step": 1, "split": "val", "perplexity": null, "gradient_norm": null}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_named() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        MetricsWriter("/dev/full").on_record({"step": 1, "split": "train"})


def test_training_records_average_the_steps_between_them(make_trainer: MakeTrainer) -> None:
    log = Log()
    make_trainer(small_config(training={"max_steps": 21}), callbacks=[log]).train()
    train = [record for record in log.records if record["split"] == "train"]
    assert [record["step"] for record in train] == [7, 14, 21]
    for number, record in enumerate(train):
        assert record["loss"] == pytest.approx(sum(log.losses[7 * number : 7 * number + 7]) / 7, rel=1e-12)
        assert record["bits_per_character"] == pytest.approx(record["loss"] / math.log(2))
        assert record["gradient_norm"] > 0
    assert train[0]["learning_rate"] == pytest.approx(0.01 * (1 + math.cos(math.pi * 1 / 16)) / 2)


def test_tensorboard_and_metrics_agree(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = small_config(training={"max_steps": 14}, logging={"tensorboard": True, "sample_length": 5})
    make_trainer(config, run_dir=tmp_path, sample=lambda model: "a rose\nis a rose").train()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for record in MetricsWriter(tmp_path / "metrics.jsonl").read():
        tag = f"loss/{record['split']}"
        value = next(event.value for event in events.Scalars(tag) if event.step == record["step"])
        assert value == pytest.approx(record["loss"], rel=1e-6)
    for tag in ("training/learning_rate", "training/gradient_norm", "training/characters_per_second", "perplexity/val"):
        assert events.Scalars(tag)
    assert b"a rose" in events.Tensors("sample/text_summary")[0].tensor_proto.string_val[0]


def test_records_are_plain_json(make_trainer: MakeTrainer) -> None:
    log = Log()
    make_trainer(small_config(training={"max_steps": 7}), callbacks=[log]).train()
    assert json.loads(json.dumps(log.records)) == log.records


def test_samples_are_recorded_and_cut_back_with_the_run(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"eval_interval": 10, "max_steps": 30}, logging={"sample_length": 5})
    make_trainer(config, run_dir=tmp_path, sample=lambda model: "a rose\n\ud800").train()
    file = SamplesWriter(tmp_path / "samples.jsonl")
    assert file.read() == [{"step": step, "text": "a rose\n\ud800"} for step in (10, 20, 30)]
    resumed = make_trainer(config, run_dir=tmp_path)
    resumed.step = 20
    file.on_start(resumed)
    file.on_sample(25, "a daisy")
    assert [(record["step"], record["text"][:3]) for record in file.read()] == [(10, "a r"), (20, "a r"), (25, "a d")]
    file.on_event(resumed, {"step": 20, "event": "memory"})
    assert [record["step"] for record in file.read()] == [10, 20, 25]
    file.on_event(resumed, {"step": 20, "event": "rollback", "failed_step": 26})
    assert [record["step"] for record in file.read()] == [10, 20]
