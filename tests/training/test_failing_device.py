"""A device or a disk that fails while training: the run goes on from what it has, or nothing earlier is lost."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import Events, parameters, small_config

from char_rnn.model_file import ModelFile
from char_rnn.training import CharRNNTrainer
from char_rnn.training import checkpoints as checkpoints_module
from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import read_state
from char_rnn.training.metrics import MetricsFile
from char_rnn.utils.device import DeviceManager

MakeTrainer = Callable[..., CharRNNTrainer]


class FakeDevice(DeviceManager):
    """A device that is the CPU under another name, and may be left."""

    def __init__(self, allowed: bool) -> None:
        self.device, self.fallback = torch.device("cuda"), allowed


def fails_at(trainer: CharRNNTrainer, step: int, error: Exception) -> None:
    """Let the device fail in the middle of a step: after the model is spoiled, before it is updated."""
    update = trainer.stepper.update

    def failing(rate: float) -> None:
        if trainer.step + 1 == step:
            with torch.no_grad():
                for parameter in trainer.model.parameters():
                    parameter.fill_(math.nan)
            raise error
        update(rate)

    trainer.stepper.update = failing  # type: ignore[method-assign]


ASSERT = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported")


def test_a_device_that_fails_is_left_for_the_cpu(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """From the last checkpoint on, to the very parameters of a run on the CPU; a checkpoint is written first."""
    config = small_config(training={"max_steps": 45, "max_epochs": 10, "eval_interval": 1000})
    log, saved = Events(), []

    class Saved(Callback):
        def on_event(self, trainer: CharRNNTrainer, event: Any) -> None:
            saved.append(ModelFile.read(tmp_path / "last.safetensors").training["step"])

    trainer = make_trainer(config, run_dir=tmp_path, callbacks=[log, Saved()], manager=FakeDevice(allowed=True))
    fails_at(trainer, 31, ASSERT)
    assert trainer.train().step == 45
    assert log.events == [
        {"step": 20, "event": "device", "failed_step": 31, "reason": str(ASSERT).splitlines()[0], "left": "cpu"}
    ]
    assert saved == [20]
    expected = make_trainer(config)
    expected.train()
    assert all(torch.equal(tensor, parameters(expected)[name]) for name, tensor in parameters(trainer).items())
    steps = [r["step"] for r in MetricsFile(tmp_path / "metrics.jsonl").read() if r.get("split") == "train"]
    assert steps == [7, 14, 21, 28, 35, 42, 45]


@pytest.mark.parametrize(
    ("manager", "error"),
    [(FakeDevice(allowed=False), ASSERT), (None, ASSERT), (FakeDevice(allowed=True), RuntimeError("shapes differ"))],
)
def test_a_device_is_left_only_if_it_failed_and_may_be(
    make_trainer: MakeTrainer, tmp_path: Path, manager: DeviceManager | None, error: Exception
) -> None:
    config = small_config(training={"max_steps": 45, "max_epochs": 10})
    trainer = make_trainer(config, run_dir=tmp_path, manager=manager)
    fails_at(trainer, 31, error)
    with pytest.raises(RuntimeError) as caught:
        trainer.train()
    assert caught.value is error
    assert ModelFile.read(tmp_path / "last.safetensors").training["step"] == 20


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_costs_no_earlier_checkpoint(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    config = small_config(training={"max_steps": 60, "max_epochs": 10, "eval_interval": 1000})
    write_tensors = checkpoints_module.write_tensors

    def full(path: Path, arrays: Any, metadata: Any) -> None:
        if '"step": 40' in metadata["counters"]:
            raise OSError(reason, "No space left on device", str(path))
        write_tensors(path, arrays, metadata)

    monkeypatch.setattr(checkpoints_module, "write_tensors", full)
    with pytest.raises(
        OSError, match=r"checkpoint of step 40 could not be written to .*; the model of step 20 remains"
    ):
        make_trainer(config, run_dir=tmp_path).train()
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*"))
    again = make_trainer(config, run_dir=tmp_path)
    again.load_state_dict(read_state(tmp_path))
    assert again.step == 20
    again.train()
    whole = make_trainer(config)
    whole.train()
    assert all(torch.equal(tensor, parameters(whole)[name]) for name, tensor in parameters(again).items())
