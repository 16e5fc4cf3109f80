"""Attention over a window: against its reference, the equations of one step, and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from char_rnn.ops import attend, attend_reference

# batch, time, hidden, window, heads
SIZES = [(1, 1, 1, 1, 1), (2, 1, 6, 4, 3), (3, 7, 6, 4, 2), (2, 5, 8, 9, 8), (2, 30, 4, 3, 1)]
each_size = pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "B{}-T{}-H{}-W{}-N{}".format(*sizes))


def arguments(sizes: tuple[int, int, int, int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    batch, time, hidden, window, _ = sizes
    shapes = [(batch, time, hidden), (batch, window, hidden), *[(hidden, hidden)] * 3]
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@each_size
def test_all_steps_at_once_are_the_steps_of_the_reference(sizes: tuple[int, int, int, int, int]) -> None:
    tensors, results = arguments(sizes), []
    for function in (attend, attend_reference):
        found, memory = function(*tensors, sizes[-1])
        weight = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view(found.shape)
        results.append([found, memory, *torch.autograd.grad((found * weight).sum() + memory.pow(2).sum(), tensors)])
    for fast, exact in zip(*results, strict=True):
        torch.testing.assert_close(fast, exact, rtol=0, atol=1e-12 * max(1, float(exact.detach().abs().max())))


@pytest.mark.parametrize("function", [attend, attend_reference])
def test_gradients_agree_with_finite_differences(function: object) -> None:
    sizes = (2, 3, 4, 2, 2)
    assert torch.autograd.gradcheck(lambda *tensors: function(*tensors, sizes[-1]), arguments(sizes))  # type: ignore[operator]


@each_size
def test_one_step_at_a_time_is_the_same(sizes: tuple[int, int, int, int, int]) -> None:
    x, memory, *weights = arguments(sizes)
    whole, last = attend(x, memory, *weights, sizes[-1])
    found = []
    for step in x.split(1, 1):
        at_once, memory = attend(step, memory, *weights, sizes[-1])
        found.append(at_once)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-12)
    assert torch.equal(memory, last)


def test_a_step_sees_the_window_before_it_and_nothing_else() -> None:
    x, memory, *weights = arguments((1, 6, 4, 2, 2))
    found, _ = attend(x, memory, *weights, 2)
    for step in range(6):
        (seen,) = torch.autograd.grad(found[0, step].sum(), x, retain_graph=True)
        assert seen[0].any(-1).nonzero().flatten().tolist() == [s for s in range(6) if step - 2 <= s <= step]


def test_the_time_before_the_text_is_found_as_zeros() -> None:
    """With scores of 0 a step finds the mean over its own state and as many zeros as the window is long."""
    x, memory, query, key, value = arguments((1, 1, 4, 3, 2))
    found, _ = attend(x, torch.zeros_like(memory), torch.zeros_like(query), key, value, 2)
    torch.testing.assert_close(found, x @ value.t() / 4, rtol=0, atol=1e-12)


def test_past_states_have_no_order() -> None:
    x, memory, *weights = arguments((2, 1, 6, 5, 3))
    found, _ = attend(x, memory, *weights, 3)
    shuffled, _ = attend(x, memory[:, torch.tensor([3, 0, 4, 1, 2])], *weights, 3)
    torch.testing.assert_close(shuffled, found, rtol=0, atol=1e-12)
