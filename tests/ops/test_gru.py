"""What is particular to the GRU: the two places of the reset gate."""

from __future__ import annotations

import math

import pytest
import torch

from char_rnn.ops import gru, gru_reference


def one_step(reset: str) -> float:
    """One unit, W_hr = 1, W_hn = 2, b_hn = 3, all else 0, from h = 0.5: r = sigmoid(0.5), z = 0.5."""
    weight_hh = torch.tensor([[1.0], [0.0], [2.0]], dtype=torch.float64)
    bias_hh = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    zeros = torch.zeros(3, 1, dtype=torch.float64)
    output, _ = gru(
        torch.zeros(1, 1, 1, dtype=torch.float64),
        torch.full((1, 1), 0.5, dtype=torch.float64),
        zeros,
        weight_hh,
        zeros[:, 0],
        bias_hh,
        reset=reset,  # type: ignore[arg-type]
    )
    return output.item()


def test_reset_before_by_hand() -> None:
    r = 1 / (1 + math.exp(-0.5))
    assert one_step("before") == pytest.approx(0.5 * math.tanh(2 * (r * 0.5) + 3) + 0.25, abs=1e-15)


def test_reset_after_by_hand() -> None:
    r = 1 / (1 + math.exp(-0.5))
    assert one_step("after") == pytest.approx(0.5 * math.tanh(r * (2 * 0.5 + 3)) + 0.25, abs=1e-15)


@pytest.mark.parametrize("function", [gru, gru_reference])
def test_another_reset_is_refused(function: object) -> None:
    with pytest.raises(ValueError, match=r'^reset: got \'never\'; give "after" or "before"$'):
        function(*[torch.zeros(1)] * 6, reset="never")  # type: ignore[operator]


def test_reset_before_saturated_gates_stay_finite() -> None:
    weights = [torch.full(shape, 100.0, requires_grad=True) for shape in ((6, 1), (6, 2), (6,), (6,))]
    output, _ = gru(torch.ones(1, 20, 1), torch.zeros(1, 2), *weights, reset="before")
    output.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in weights)  # type: ignore[arg-type]


def test_reset_before_second_derivatives_are_refused_not_wrong() -> None:
    x = torch.ones(1, 2, 1, requires_grad=True)
    weights = [torch.ones(shape) for shape in ((3, 1), (3, 1), (3,), (3,))]
    output, _ = gru(x, torch.zeros(1, 1), *weights, reset="before")
    (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_reset_before_output_changed_in_place_is_noticed() -> None:
    weights = [torch.ones(shape, requires_grad=True) for shape in ((3, 1), (3, 1), (3,), (3,))]
    output, _ = gru(torch.ones(1, 2, 1), torch.zeros(1, 1), *weights, reset="before")
    with pytest.raises(RuntimeError, match="modified inplace"):
        output.mul_(2).sum().backward()
