"""The loss in C against the reference in float64: values, every gradient, and what must not be hidden."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from char_rnn.kernels import load
from char_rnn.ops import output_loss as module
from char_rnn.ops.output_loss import SoftTargets, output_loss, output_loss_reference

pytestmark = pytest.mark.skipif(load() is None, reason="no kernels are built")


@pytest.fixture(autouse=True)
def threads_and_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "FEWEST_SCORES", 0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def problem(batch: int, time: int, symbols: int, hidden: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x, weight, bias and targets; x is time-major in memory, as the layers make it."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(time, batch, hidden, generator=generator).transpose(0, 1)
    weight, bias = torch.randn(symbols, hidden, generator=generator) * 2, torch.randn(symbols, generator=generator)
    return x, weight, bias, torch.randint(symbols, (batch, time), generator=generator)


def soft_targets(batch: int, time: int, symbols: int, weight: float, temperature: float = 1.0) -> SoftTargets:
    """Return predictions, time-major in memory, as a teacher makes them."""
    scores = torch.randn(time, batch, symbols, generator=torch.Generator().manual_seed(8))
    return SoftTargets(torch.softmax(2 * scores, -1).transpose(0, 1), weight, temperature)


def results(
    function: object,
    given: tuple[Tensor, ...],
    smoothing: float,
    dtype: torch.dtype,
    soft: SoftTargets | None = None,
) -> list[Tensor]:
    """Return the objective, the loss, and the gradients of a part of the objective."""
    *parameters, target = given
    leaves = [parameter.to(dtype).detach().requires_grad_() for parameter in parameters]
    objective, loss = function(*leaves, target, smoothing, soft)  # type: ignore[operator]
    (objective * 0.37).backward()
    return [objective.detach(), loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("taught", [None, 0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("batch", "time", "symbols"), [(1, 1, 1), (3, 7, 2), (17, 5, 16), (5, 33, 17), (9, 20, 301)])
def test_the_kernels_compute_the_reference(
    batch: int, time: int, symbols: int, smoothing: float, taught: float | None
) -> None:
    given = problem(batch, time, symbols)
    soft = None if taught is None else soft_targets(batch, time, symbols, taught)
    found = results(output_loss, given, smoothing, torch.float32, soft)
    exact = results(output_loss_reference, given, smoothing, torch.float64, soft)
    assert len(found) == 5
    for own, expected in zip(found, exact, strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own.double(), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()) + 1e-7)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_targets_are_mixed_with_the_text_as_written_out(temperature: float) -> None:
    """Hinton et al. 2015: (1 - w) CE(text) + w T^2 CE(q, softmax(scores / T)), with the gradients of autograd."""
    x, weight, bias, target = problem(3, 4, 20)
    soft = soft_targets(3, 4, 20, 0.4, temperature)
    leaf = x.double().detach().requires_grad_()
    scores = leaf @ weight.double().t() + bias.double()
    of_text = torch.nn.functional.cross_entropy(scores.flatten(0, 1), target.flatten())
    softened = torch.log_softmax(scores / temperature, -1)
    objective = 0.6 * of_text - 0.4 * temperature**2 * (soft.probabilities.double() * softened).sum(-1).mean()
    objective.backward()
    own = x.detach().requires_grad_()
    found, loss = output_loss(own, weight, bias, target, 0.0, soft)
    found.backward()
    assert float(found.detach()) == pytest.approx(float(objective.detach()), rel=1e-5)
    assert float(loss.detach()) == pytest.approx(float(of_text.detach()), rel=1e-5)
    assert own.grad is not None
    assert leaf.grad is not None
    torch.testing.assert_close(own.grad.double(), leaf.grad, rtol=1e-4, atol=1e-7)


def test_without_smoothing_the_loss_itself_is_minimized() -> None:
    objective, loss = output_loss(*problem(2, 3, 4))
    assert objective is loss


def test_the_same_bits_for_any_number_of_threads() -> None:
    found = []
    for count in (1, 2, 3, 5):
        torch.set_num_threads(count)
        given, soft = problem(16, 40, 65), soft_targets(16, 40, 65, 0.5)
        found.append(results(output_loss, given, 0.1, torch.float32, soft)[:2])
    assert all(map(torch.equal, found[0] * 3, [each for other in found[1:] for each in other]))


def test_large_scores_do_not_overflow() -> None:
    x, weight, bias, target = problem(3, 4, 20)
    bias[5] = 1e4
    found = results(output_loss, (x, weight, bias, target), 0.0, torch.float32)
    exact = results(output_loss_reference, (x, weight, bias, target), 0.0, torch.float64)
    for own, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(own.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_shows(wrong: float) -> None:
    x, weight, bias, target = problem(3, 4, 20)
    x[1, 2, 0] = wrong
    assert all(
        not result.isfinite().all() for result in results(output_loss, (x, weight, bias, target), 0.0, torch.float32)
    )


@pytest.mark.parametrize("wrong", [-1, 20])
def test_a_target_that_does_not_exist_is_refused(wrong: int) -> None:
    x, weight, bias, target = problem(3, 4, 20)
    target[2, 1] = wrong
    with pytest.raises(IndexError, match="give ids from 0 to 19"):
        output_loss(x, weight, bias, target)


def test_under_autocast_it_is_as_exact_as_without() -> None:
    given = problem(8, 9, 65)
    exact = results(output_loss_reference, given, 0.1, torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        found = results(output_loss, given, 0.1, torch.float32)
        half = given[0].to(torch.bfloat16).requires_grad_()
        output_loss(half, *given[1:])[0].backward()
    for own, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(own.double(), expected, rtol=1e-5, atol=1e-6)
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


def test_small_batches_and_double_precision_take_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(3, 4, 20)
    monkeypatch.setattr(module, "_OutputLoss", None)
    doubles = tuple(each.double() for each in given[:3])
    assert output_loss(*doubles, given[3])[0].dtype == torch.float64
    monkeypatch.setattr(module, "FEWEST_SCORES", 3 * 4 * 20 + 1)
    torch.testing.assert_close(output_loss(*given), output_loss_reference(*given))
