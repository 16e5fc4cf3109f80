"""The optimizers: RMSprop against its formula, written out in NumPy, AdamW against PyTorch's."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from char_rnn.kernels import load
from char_rnn.models import CharRNN
from char_rnn.training import optimizers
from char_rnn.training.optimizers import (
    AdamW,
    RMSprop,
    build_optimizer,
    clip_norm,
    clip_value,
    gradient_norm,
)
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


def test_no_gradient_no_step() -> None:
    moved, still = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    moved.grad = torch.ones(1)
    optimizer = RMSprop([moved, still], lr=0.1)
    optimizer.step()
    assert (moved.item() < 1, still.item()) == (True, 1.0)
    assert still not in optimizer.state


with_kernels = pytest.mark.skipif(load() is None, reason="no kernels are built")
SIZES = (1, 17, 33, 4095, 4097, 70_001)  # around the kernels' blocks of 4096, and more than a thread's least share


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def parameters_and_gradients(steps: int) -> tuple[list[Tensor], list[list[Tensor]]]:
    generator = torch.Generator().manual_seed(3)
    parameters = [torch.randn(size, generator=generator) for size in SIZES]
    return parameters, [
        [torch.randn(size, generator=generator) * 10.0 ** (3 - 3 * step) for size in SIZES] for step in range(steps)
    ]


def trained(optimizer: torch.optim.Optimizer, gradients: list[list[Tensor]]) -> list[Tensor]:
    """Make the steps; return the parameters and what is stored of them, in this order."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for of_step in gradients:
        for parameter, gradient in zip(parameters, of_step, strict=True):
            parameter.grad = gradient.to(parameter.dtype, copy=True)
        optimizer.step()
    stored = [optimizer.state[parameter] for parameter in parameters]
    names = ("step", "exp_avg", "exp_avg_sq")
    return [parameter.detach() for parameter in parameters] + [each[name] for name in names for each in stored]


@with_kernels
def test_adamw_is_that_of_pytorch_but_for_rounding() -> None:
    """In float32 no farther from float64 than twice PyTorch's own."""
    start, gradients = parameters_and_gradients(5)
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.3}
    own = trained(AdamW([torch.nn.Parameter(x.clone()) for x in start], **settings), gradients)
    single = trained(torch.optim.AdamW([torch.nn.Parameter(x.clone()) for x in start], **settings), gradients)
    double = trained(torch.optim.AdamW([torch.nn.Parameter(x.double()) for x in start], **settings), gradients)
    for found, rounded, exact in zip(own, single, double, strict=True):
        assert found.dtype == torch.float32
        most = 2 * (rounded - exact).abs().max() + 2e-7 * exact.abs().max()
        assert (found - exact).abs().max() <= most


@with_kernels
def test_adamw_and_the_norm_are_the_same_bits_for_any_number_of_threads(threads: None) -> None:
    start, gradients = parameters_and_gradients(3)
    found, norms = [], []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        found.append(trained(AdamW([torch.nn.Parameter(x.clone()) for x in start], lr=0.01), gradients))
        weights = [torch.nn.Parameter(x) for x in start]
        for weight, gradient in zip(weights, gradients[0], strict=True):
            weight.grad = gradient
        norms.append(gradient_norm(weights))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))
    assert len(set(norms)) == 1
    exact = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients[0]))
    assert norms[0] == pytest.approx(exact, rel=1e-7)


@with_kernels
def test_adamw_goes_on_from_what_pytorch_stored() -> None:
    start, gradients = parameters_and_gradients(4)
    theirs = torch.optim.AdamW([torch.nn.Parameter(x.clone()) for x in start], lr=0.01, fused=True)
    trained(theirs, gradients[:2])
    own = AdamW([torch.nn.Parameter(x.detach().clone()) for x in theirs.param_groups[0]["params"]], lr=0.01)
    own.load_state_dict(copy.deepcopy(theirs.state_dict()))
    pairs = zip(trained(own, gradients[2:]), trained(theirs, gradients[2:]), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@with_kernels
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_of_adamw_makes_the_same_steps(copied: Callable[[AdamW], AdamW]) -> None:
    start, gradients = parameters_and_gradients(4)
    own = AdamW([torch.nn.Parameter(x.clone()) for x in start], lr=0.01)
    trained(own, gradients[:2])
    assert all(map(torch.equal, trained(copied(own), gradients[2:]), trained(own, gradients[2:])))


@with_kernels
def test_adamw_counts_as_a_change_and_shows_nan() -> None:
    parameter, still = torch.nn.Parameter(torch.ones(40)), torch.nn.Parameter(torch.ones(2))
    optimizer, before = AdamW([parameter, still], lr=0.1), parameter._version
    parameter.grad = torch.ones(20, 2).t().reshape(2, 20).flatten().expand(40)
    parameter.grad[7] = math.nan
    optimizer.step()
    assert parameter._version > before
    assert parameter.isnan().tolist() == [place == 7 for place in range(40)]
    assert still not in optimizer.state


@with_kernels
@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(4).double(), torch.zeros(8)[::2]])
def test_a_state_that_does_not_fit_is_refused(wrong: Tensor) -> None:
    parameter = torch.nn.Parameter(torch.ones(4))
    parameter.grad = torch.ones(4)
    optimizer = AdamW([parameter], lr=0.1)
    optimizer.state[parameter] = {"step": torch.zeros(()), "exp_avg": torch.zeros(4), "exp_avg_sq": wrong}
    with pytest.raises(ValueError, match="does not fit its parameter"):
        optimizer.step()
    assert parameter.tolist() == [1.0] * 4


@with_kernels
@pytest.mark.slow
def test_the_compiler_is_not_imported() -> None:
    """It takes a second, at the start of every training."""
    program = (
        "import sys, torch\n"
        "from char_rnn.models import CharRNN\n"
        "from char_rnn.training.optimizers import build_optimizer\n"
        "from char_rnn.utils.config import TrainingConfig\n"
        "model = CharRNN(5, 3, 1)\n"
        "optimizer = build_optimizer(model, TrainingConfig())\n"
        "model(torch.zeros(1, 2, dtype=torch.long))[0].sum().backward()\n"
        "optimizer.step()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_configuration_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CharRNN(5, 3, 1)
    adamw = build_optimizer(model, TrainingConfig(weight_decay=0.5))
    assert type(adamw) is (torch.optim.AdamW if load() is None else AdamW)
    double = build_optimizer(CharRNN(5, 3, 1).double(), TrainingConfig())
    assert (type(double), double.defaults["fused"]) == (torch.optim.AdamW, True)
    monkeypatch.setattr(optimizers, "load", lambda: None)
    assert type(build_optimizer(model, TrainingConfig())) is torch.optim.AdamW
    rmsprop = build_optimizer(model, TrainingConfig(optimizer="rmsprop", decay_rate=0.7, weight_decay=0.5))
    assert type(rmsprop) is RMSprop
    assert [group["weight_decay"] for group in rmsprop.param_groups] == [0.5, 0.0]
    assert {group["decay_rate"] for group in rmsprop.param_groups} == {0.7}


def with_gradients(*gradients: list[float]) -> list[torch.Tensor]:
    made = []
    for gradient in gradients:
        parameter = torch.nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        made.append(parameter)
    return made


def gradients(of: list[torch.Tensor]) -> list[list[float]]:
    return [parameter.grad.tolist() for parameter in of if parameter.grad is not None]


def test_the_norm_is_that_of_the_whole_gradient() -> None:
    assert gradient_norm([*with_gradients([3.0], [0.0, 4.0]), torch.nn.Parameter(torch.ones(2))]) == 5.0


def test_a_long_gradient_is_scaled_and_a_short_one_left() -> None:
    long, short = with_gradients([3.0], [0.0, 4.0]), with_gradients([3.0], [0.0, 4.0])
    assert clip_norm(long, 2.5) == 5.0
    assert gradients(long) == [pytest.approx([1.5], rel=1e-5), pytest.approx([0, 2.0], rel=1e-5)]
    assert clip_norm(short, 6.0) == 5.0
    assert gradients(short) == [[3.0], [0.0, 4.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_norm_and_the_factor_are_those_of_pytorch(dtype: torch.dtype) -> None:
    made = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in (1, 33, 4097)]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape, dtype=dtype)
    expected = [parameter.clone() for parameter in made]
    for own, parameter in zip(expected, made, strict=True):
        own.grad = None if parameter.grad is None else parameter.grad.clone()
    norm = float(torch.nn.utils.clip_grad_norm_(expected, 2.0))
    assert clip_norm(made, 2.0) == pytest.approx(norm, rel=1e-6)
    for parameter, own in zip(made, expected, strict=True):
        torch.testing.assert_close(parameter.grad, own.grad, rtol=1e-6, atol=0)


def test_a_norm_that_is_not_finite_is_returned() -> None:
    for wrong in (math.nan, math.inf):
        parameter = torch.nn.Parameter(torch.zeros(3))
        parameter.grad = torch.tensor([1.0, wrong, 1.0])
        assert str(clip_norm([parameter], 5.0)) == str(wrong)


def test_elements_are_clamped_where_their_sum_over_the_sequence_is_beyond_the_limit() -> None:
    """Mean over 4 characters: 2 means a sum of 8, beyond 5, which is a mean of 1.25."""
    given = with_gradients([2.0, -3.0], [1.0, math.inf])
    assert clip_value(given, 5.0, seq_length=4) == math.inf
    assert gradients(given) == [[1.25, -1.25], [1.0, 1.25]]
