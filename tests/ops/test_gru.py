"""What is particular to the GRU: the two places of the reset gate."""

from __future__ import annotations

import math

import pytest
import torch

from char_rnn.cells import GRU
from char_rnn.ops import run_layer


@pytest.mark.parametrize("reset", ["before", "after"])
def test_reset_by_hand(reset: str) -> None:
    """One unit, W_hr = 1, W_hn = 2, b_hn = 3, all else 0, from h = 0.5: r = sigmoid(0.5), z = 0.5."""
    zeros = torch.zeros(3, 1, dtype=torch.float64)
    parameters = {
        "weight_ih": zeros,
        "weight_hh": torch.tensor([[1.0], [0.0], [2.0]], dtype=torch.float64),
        "bias_ih": zeros[:, 0],
        "bias_hh": torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64),
    }
    output, _ = run_layer(GRU(reset), zeros[:1, None], (zeros[:1] + 0.5,), parameters)
    r = 1 / (1 + math.exp(-0.5))
    pre_activation = 2 * (r * 0.5) + 3 if reset == "before" else r * (2 * 0.5 + 3)
    assert output.item() == pytest.approx(0.5 * math.tanh(pre_activation) + 0.25, abs=1e-15)


def test_another_reset_is_refused() -> None:
    with pytest.raises(ValueError, match=r'^reset: got \'never\'; give "after" or "before"$'):
        GRU("never")


@pytest.mark.parametrize("way", ["kernels", "derived"], indirect=True)
def test_saturated_gates_stay_finite(way: torch.dtype) -> None:
    cell = GRU("before")
    parameters = {name: torch.full(shape, 100.0, dtype=way) for name, shape in cell.shapes(1, 2).items()}
    for parameter in parameters.values():
        parameter.requires_grad_()
    output, _ = run_layer(cell, torch.ones(1, 20, 1, dtype=way), (torch.zeros(1, 2, dtype=way),), parameters)
    output.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in parameters.values())  # type: ignore[arg-type]
