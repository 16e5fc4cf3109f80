"""Limits on the gradient: its norm, and its elements as in 2015."""

from __future__ import annotations

import math

import pytest
import torch

from char_rnn.training.clipping import clip_norm, clip_value, gradient_norm


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


def test_elements_are_clamped_where_their_sum_over_the_sequence_is_beyond_the_limit() -> None:
    """Mean over 4 characters: 2 means a sum of 8, beyond 5, which is a mean of 1.25."""
    given = parameters([2.0, -3.0], [1.0, math.inf])
    assert clip_value(given, 5.0, seq_length=4) == math.inf
    assert gradients(given) == [[1.25, -1.25], [1.0, 1.25]]
