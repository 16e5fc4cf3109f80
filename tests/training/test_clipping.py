"""Limits on the gradient: its norm, and its elements as in 2015."""

from __future__ import annotations

import math

import pytest
import torch

from char_rnn.training.optimizers import clip_norm, clip_value, gradient_norm


def parameters(*gradients: list[float]) -> list[torch.Tensor]:
    made = []
    for gradient in gradients:
        parameter = torch.nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        made.append(parameter)
    return made


def gradients(of: list[torch.Tensor]) -> list[list[float]]:
    return [parameter.grad.tolist() for parameter in of if parameter.grad is not None]


def test_the_norm_is_that_of_the_whole_gradient() -> None:
    assert gradient_norm([*parameters([3.0], [0.0, 4.0]), torch.nn.Parameter(torch.ones(2))]) == 5.0


def test_a_long_gradient_is_scaled_and_a_short_one_left() -> None:
    long, short = parameters([3.0], [0.0, 4.0]), parameters([3.0], [0.0, 4.0])
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
    for copy, parameter in zip(expected, made, strict=True):
        copy.grad = None if parameter.grad is None else parameter.grad.clone()
    norm = float(torch.nn.utils.clip_grad_norm_(expected, 2.0))
    assert clip_norm(made, 2.0) == pytest.approx(norm, rel=1e-6)
    for parameter, copy in zip(made, expected, strict=True):
        torch.testing.assert_close(parameter.grad, copy.grad, rtol=1e-6, atol=0)


def test_a_norm_that_is_not_finite_is_returned() -> None:
    for wrong in (math.nan, math.inf):
        parameter = torch.nn.Parameter(torch.zeros(3))
        parameter.grad = torch.tensor([1.0, wrong, 1.0])
        assert str(clip_norm([parameter], 5.0)) == str(wrong)


def test_elements_are_clamped_where_their_sum_over_the_sequence_is_beyond_the_limit() -> None:
    """Mean over 4 characters: 2 means a sum of 8, beyond 5, which is a mean of 1.25."""
    given = parameters([2.0, -3.0], [1.0, math.inf])
    assert clip_value(given, 5.0, seq_length=4) == math.inf
    assert gradients(given) == [[1.25, -1.25], [1.0, 1.25]]
