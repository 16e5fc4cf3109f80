"""The optimizers: RMSprop against its formula, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from char_rnn.models import CharRNN
from char_rnn.training.optimizers import RMSprop, build_optimizer, set_learning_rate
from char_rnn.utils.config import TrainingConfig


def test_rmsprop_is_the_formula_of_2015() -> None:
    rng = np.random.default_rng(1)
    x, m = rng.normal(size=(3, 4)), np.zeros((3, 4))
    parameter = torch.nn.Parameter(torch.from_numpy(x.copy()))
    optimizer = RMSprop([parameter], lr=0.002, decay_rate=0.9)
    for step in range(5):
        g = rng.normal(size=(3, 4)) * 10.0 ** -(3 * step)
        parameter.grad = torch.from_numpy(g)
        optimizer.step()
        m = 0.9 * m + (1 - 0.9) * g * g
        x = x - 0.002 * g / (np.sqrt(m) + 1e-8)
        np.testing.assert_allclose(parameter.detach().numpy(), x, rtol=1e-14)
    np.testing.assert_allclose(optimizer.state[parameter]["mean_square"].numpy(), m, rtol=1e-14)


def test_the_first_step_has_the_same_length_in_every_direction() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    parameter.grad = torch.tensor([3.0, -0.01], dtype=torch.float64)
    RMSprop([parameter], lr=1.0, decay_rate=0.95).step()
    assert parameter.tolist() == pytest.approx([-(0.05**-0.5), 0.05**-0.5], rel=1e-5)


def test_epsilon_stands_outside_the_root() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.tensor([1e-8], dtype=torch.float64)
    RMSprop([parameter], lr=1.0, decay_rate=0.0).step()
    assert parameter.item() == pytest.approx(-0.5)


def test_weight_decay_of_rmsprop_is_decoupled() -> None:
    parameter = torch.nn.Parameter(torch.full((1, 1), 8.0))
    parameter.grad = torch.zeros(1, 1)
    RMSprop([parameter], lr=0.5, weight_decay=0.25).step()
    assert parameter.item() == 7.0


def test_a_closure_gives_its_loss_and_no_gradient_no_step() -> None:
    moved, still = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimizer = RMSprop([moved, still], lr=0.1)

    def closure() -> float:
        loss = (3 * moved).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 3.0
    assert (moved.item() < 1, still.item()) == (True, 1.0)
    assert still not in optimizer.state


def test_the_configuration_chooses() -> None:
    model = CharRNN(5, 3, 1)
    adamw = build_optimizer(model, TrainingConfig(weight_decay=0.5))
    assert type(adamw) is torch.optim.AdamW
    rmsprop = build_optimizer(model, TrainingConfig(optimizer="rmsprop", decay_rate=0.7, weight_decay=0.5))
    assert type(rmsprop) is RMSprop
    assert [group["weight_decay"] for group in rmsprop.param_groups] == [0.5, 0.0]
    assert {group["decay_rate"] for group in rmsprop.param_groups} == {0.7}
    set_learning_rate(rmsprop, 0.25)
    assert {group["lr"] for group in rmsprop.param_groups} == {0.25}
