"""Checkpoints: the models that a run writes, and the order of its files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_helpers import StopAt, small_config, timeless

from char_rnn.model_file import ModelFile
from char_rnn.training import CharRNNTrainer
from char_rnn.training.checkpoints import TrainingState, read_state, write_state

MakeTrainer = Callable[..., CharRNNTrainer]


def test_the_mean_of_the_parameters_is_saved_resumed_and_tested(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Files contain the mean; a resumed run continues with the parameters; the test uses the best."""
    training = {"averaging": "polyak", "averaging_start": 10, "max_steps": 40, "max_epochs": 10, "eval_interval": 15}
    config = small_config(training={**training, "learning_rate": 0.05})
    whole = make_trainer(config, run_dir=tmp_path)
    result = whole.train()
    best = ModelFile.read(tmp_path / "best.safetensors")
    assert best.training["best_val_loss"] == result.best_val_loss
    assert all((whole.model.state_dict()[name].numpy() == array).all() for name, array in best.tensors.items())
    assert whole.evaluate("test") == result.test
    raw, mean = (read_state(tmp_path)[0][f"{part}.output_proj.weight"] for part in ("model", "average.module"))
    assert not torch.equal(raw, mean)

    half = make_trainer(small_config(training={**training, "learning_rate": 0.05, "horizons": [[5, 40]]}))
    half.metrics.callbacks.append(StopAt(22))
    half.train()
    state = half.state_dict()
    (tmp_path / "again").mkdir()
    again = make_trainer(config, run_dir=tmp_path / "again")
    again.load_state_dict(state)
    again.train()
    end = read_state(tmp_path / "again")[0]
    assert torch.equal(end["model.output_proj.weight"], raw)
    assert torch.equal(end["average.module.output_proj.weight"], mean)
    assert torch.equal(again.model.output_proj.weight, whole.model.output_proj.weight)


def test_the_newest_models_of_earlier_steps_are_kept(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(
        training={"max_steps": 55, "max_epochs": 10, "eval_interval": 20}, logging={"save_interval": 10, "keep": 2}
    )
    make_trainer(config, run_dir=tmp_path).train()
    kept = sorted(path.name for path in tmp_path.glob("step-*"))
    assert kept == ["step-00000040.safetensors", "step-00000050.safetensors"]
    assert ModelFile.read(tmp_path / kept[0]).training["step"] == 40


def test_the_state_is_written_last(make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run killed right after writing a state loses neither the model of that step nor a record."""
    config = small_config(
        training={"max_steps": 24, "max_epochs": 10, "eval_interval": 10}, logging={"save_interval": 8, "keep": 9}
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    make_trainer(config, run_dir=whole).train()
    flushed: list[int] = []

    def killed(path: Path, state: TrainingState) -> None:
        assert (parts / "metrics.jsonl").stat().st_size in flushed
        write_state(path, state)
        if state.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr("char_rnn.training.checkpoints.write_state", killed)
        patched.setattr("os.fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
        make_trainer(config, run_dir=parts).train()
    again = make_trainer(config, run_dir=parts)
    again.load_state_dict(read_state(parts))
    assert again.step == 8
    again.train()
    names = [sorted(path.name for path in run.glob("step-*")) for run in (whole, parts)]
    assert names[0] == names[1] == [f"step-{step:08d}.safetensors" for step in (8, 16, 24)]
    assert timeless(parts) == timeless(whole)
