"""A loss or a gradient that goes astray: nothing is touched, and the run stops before the update."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_helpers import (
    small_config,
)

from char_rnn.model_file import ModelFile
from char_rnn.training import CharRNNTrainer, TrainingDiverged

MakeTrainer = Callable[..., CharRNNTrainer]


def test_a_gradient_that_overflows_touches_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.model.output_proj.bias.register_hook(lambda gradient: gradient * math.inf)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.raises(TrainingDiverged, match=r"the norm of the gradient is (inf|nan)"):
        trainer.train()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


def test_an_exploding_loss_stops_before_the_update(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"learning_rate": 1e6, "grad_clip": 0.0, "eval_interval": 500, "warmup_steps": 0})
    trainer = make_trainer(config, run_dir=tmp_path)
    with pytest.raises(
        TrainingDiverged, match=r"stopped at step \d+: the loss is .*; .*Try a lower training.learning_rate"
    ) as caught:
        trainer.train()
    assert "training.grad_clip 5, say (now off)" in str(caught.value)
    assert "nothing was saved yet" in str(caught.value)
    assert not (tmp_path / "best.safetensors").exists()
    assert ModelFile.read(tmp_path / "last.safetensors").training["step"] == 0
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def test_a_loss_that_is_not_a_number_touches_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    with torch.no_grad():
        trainer.model.output_proj.bias[0] = math.nan
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.raises(TrainingDiverged, match="the loss is nan; nothing was saved yet"):
        trainer.train()
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in trainer.model.state_dict().items()
        if name != "output_proj.bias"
    )
    assert trainer.step == 0


def test_the_guard_can_be_turned_off(make_trainer: MakeTrainer) -> None:
    config = small_config(
        training={"learning_rate": 1e3, "grad_clip": 0.0, "explosion_factor": 0.0, "max_steps": 20, "warmup_steps": 0}
    )
    assert make_trainer(config).train().step == 20
