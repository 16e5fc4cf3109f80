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
from char_rnn.training.loss import LossGuard

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
        TrainingDiverged,
        match=r"stopped at step \d+: the running mean of the loss is .*training.explosion_factor 3 times the first.*"
        r"; .*Try a lower training.learning_rate",
    ) as caught:
        trainer.train()
    assert "training.grad_clip 5 (now off)" in str(caught.value)
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


def test_harder_text_after_an_easy_beginning_is_no_explosion() -> None:
    """A model that knows the beginning by heart is wrong about the rest with confidence, and learns."""
    guard = LossGuard(3.0, uniform=math.log(19))
    for loss in (0.01,) * 50 + (8.5,) * 8 + (7.5,) * 10 + (5.0,) * 10 + (3.0,) * 100:
        guard.check(loss)
    assert (guard.first, guard.above) == (0.01, 0)


def test_a_loss_that_stays_above_the_limit_is_an_explosion() -> None:
    """The mean after n losses of 20 after one of 3 is 20 - 17 * 0.98^n, above 3 * 4 for the first time at n = 38."""
    guard = LossGuard(3.0, uniform=4.0)
    guard.check(3.0)
    for _ in range(37):
        guard.check(20.0)
    again = LossGuard(3.0, uniform=4.0)
    again.load_state_dict(guard.first, guard.state_dict())
    message = r"the running mean of the loss is 12.11, more than 12 \(training.explosion_factor 3 times ln V"
    for counting in (guard, again):
        with pytest.raises(TrainingDiverged, match=message):
            counting.check(20.0)
        assert counting.above == 38
