"""Recovery: a run whose loss explodes rolls back; one whose device or disk fails loses nothing earlier."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import Breaks, Events, parameters, small_config, timeless

from char_rnn.model_file import ModelFile
from char_rnn.training import CharRNNTrainer, TrainingDiverged
from char_rnn.training import checkpoints as checkpoints_module
from char_rnn.training.callbacks import Callback, MetricsWriter
from char_rnn.training.checkpoints import read_state
from char_rnn.utils.device import DeviceManager

MakeTrainer = Callable[..., CharRNNTrainer]


def test_an_explosion_rolls_back_to_half_the_rate(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Saved every 20 steps and broken after step 27, the run continues at 20 and records every step once."""
    config = small_config(training={"max_steps": 60, "max_epochs": 10, "eval_interval": 1000, "schedule": "constant"})
    log = Events()
    trainer = make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(27), log])
    result = trainer.train()
    assert (result.step, result.stopped) == (60, False)
    reason = "the loss is nan (the first was 2."
    assert log.events == [
        {"step": 20, "event": "rollback", "failed_step": 28, "reason": log.events[0]["reason"], "rate_factor": 0.5}
    ]
    assert log.events[0]["reason"].startswith(reason)
    records = MetricsWriter(tmp_path / "metrics.jsonl").read()
    assert [r["step"] for r in records if r.get("split") == "train"] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert [r["step"] for r in records if "event" in r] == [20]
    rates = {r["step"]: r["learning_rate"] for r in records if r.get("split") == "train"}
    assert (rates[14], rates[21], rates[56]) == (0.01, 0.005, 0.005)


def test_a_rollback_equals_halving_the_rate_at_the_checkpoint(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"max_steps": 45, "max_epochs": 10, "eval_interval": 1000})
    broken = make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(33)])
    broken.train()
    expected = make_trainer(config)
    while expected.step < 20:
        expected.train_step(*first_batch(expected))
        expected._advance()
    expected.plan.halvings = 1
    expected.train()
    assert all(torch.equal(tensor, parameters(expected)[name]) for name, tensor in parameters(broken).items())


def first_batch(trainer: CharRNNTrainer) -> tuple[torch.Tensor, torch.Tensor]:
    return next(iter(trainer.train_batches.epoch(trainer.epoch, trainer.batch)))


def test_a_ruined_state_that_was_saved_is_skipped(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """The model breaks in step 40 and is saved; the next loss shows it. Step 20 is the last good state."""
    config = small_config(training={"max_steps": 50, "max_epochs": 10, "eval_interval": 1000})
    log = Events()
    trainer = make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(40), log])
    assert trainer.train().step == 50
    assert [(event["step"], event["failed_step"]) for event in log.events] == [(20, 41)]


def test_states_with_too_large_losses_are_skipped(make_trainer: MakeTrainer) -> None:
    """The model breaks after step 38; the running mean shows it after 40, where the ruined state was saved."""
    config = small_config(training={"max_steps": 50, "max_epochs": 10, "eval_interval": 1000})
    log = Events()
    trainer = make_trainer(config, callbacks=[Breaks(38, factor=100.0), log])
    trainer.train()
    [event] = log.events
    assert event["step"] == 20
    assert 42 < event["failed_step"] < 50
    assert event["reason"].startswith("the running mean of the loss is 8.")


def test_the_best_model_survives_a_rollback(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """A new best at 30, broken after 31, back to 20: the recorded best is that of its file."""
    config = small_config(training={"max_steps": 40, "max_epochs": 10, "eval_interval": 10})
    config.logging.save_interval = 1000
    trainer = make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(31)])
    result = trainer.train()
    best = ModelFile.read(tmp_path / "best.safetensors").training
    assert (best["best_step"], best["best_val_loss"]) == (result.best_step, result.best_val_loss)
    assert trainer.validate() == result.best_val_loss


def test_a_run_that_keeps_exploding_stops(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"max_steps": 60, "max_epochs": 10, "eval_interval": 1000, "rollbacks": 2})
    log = Events()
    trainer = make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(27, times=9), log])
    message = r"stopped at step 28: the loss is nan .*, after 2 rollbacks; the model of step 20 remains in .*Try"
    with pytest.raises(TrainingDiverged, match=message):
        trainer.train()
    assert [event["rate_factor"] for event in log.events] == [0.5, 0.25]
    assert ModelFile.read(tmp_path / "last.safetensors").training["step"] == 20


def test_without_rollbacks_it_stops_at_once(make_trainer: MakeTrainer) -> None:
    config = small_config(training={"max_steps": 60, "max_epochs": 10, "rollbacks": 0})
    with pytest.raises(
        TrainingDiverged, match=r"stopped at step 28: the loss is nan \(the first was .*\); nothing was"
    ):
        make_trainer(config, callbacks=[Breaks(27)]).train()


def test_an_infinite_validation_loss_rolls_back_too(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"max_steps": 60, "max_epochs": 10, "eval_interval": 30})
    log = Events()
    result = make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(30), log]).train()
    assert result.step == 60
    assert [(event["step"], event["reason"]) for event in log.events] == [(20, "the validation loss is nan")]
    val = [r for r in MetricsWriter(tmp_path / "metrics.jsonl").read() if r.get("split") == "val"]
    assert [record["step"] for record in val] == [30, 60]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_rolled_back_run_is_resumed_with_its_rate(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """Stopped between the rollback and the next checkpoint: the halved rate and the event remain, once."""
    config = small_config(training={"max_steps": 60, "max_epochs": 10, "eval_interval": 1000})

    class StopAfterwards(Callback):
        def on_event(self, trainer: CharRNNTrainer, event: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        if not recorded:
            patched.setattr(MetricsWriter, "on_event", StopAfterwards.on_event)
        make_trainer(config, run_dir=tmp_path, callbacks=[Breaks(27), StopAfterwards()]).train()
    assert sum("event" in record for record in timeless(tmp_path)) == recorded
    again = make_trainer(config, run_dir=tmp_path)
    again.load_state_dict(read_state(tmp_path))
    assert (again.step, again.plan.halvings) == (20, 1)
    again.train()
    assert [r["step"] for r in timeless(tmp_path) if "event" in r] == [20]
    whole = make_trainer(config, callbacks=[Breaks(27)], run_dir=None)
    assert whole.snapshots.pop_before() is None


class FakeDevice(DeviceManager):
    """The CPU under another name, with fallback allowed or not."""

    def __init__(self, allowed: bool) -> None:
        self.device, self.fallback = torch.device("cuda"), allowed


def fails_at(trainer: CharRNNTrainer, step: int, error: Exception) -> None:
    """Make the device fail within a step: after the parameters became NaN, before the update."""
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


def test_a_run_continues_on_the_cpu_after_a_device_failure(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """It continues from the last checkpoint, ends with the parameters of a CPU run, and writes a checkpoint first."""
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
    steps = [r["step"] for r in MetricsWriter(tmp_path / "metrics.jsonl").read() if r.get("split") == "train"]
    assert steps == [7, 14, 21, 28, 35, 42, 45]


@pytest.mark.parametrize(
    ("manager", "error"),
    [(FakeDevice(allowed=False), ASSERT), (None, ASSERT), (FakeDevice(allowed=True), RuntimeError("shapes differ"))],
)
def test_other_errors_and_devices_without_fallback_end_the_run(
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
