"""The objective against its formulas, whole and in parts, and that no number which is shown has anything of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from training_helpers import REGULARIZED, small_config

from char_rnn.cells import BUILT_IN
from char_rnn.models import CharModel, build_model
from char_rnn.models.char_model import Activations
from char_rnn.training.loss import Objective
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig


def objective_of(**training: Any) -> Objective:
    return Objective(TrainingConfig(**training))


LOG_PROBS = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]], dtype=torch.float64))
TARGET = torch.tensor([[0, 1]])
LOSS = -(np.log(0.5) + np.log(0.1)) / 2


def test_label_smoothing_is_the_cross_entropy_with_softened_targets() -> None:
    value, loss = objective_of(label_smoothing=0.3)(LOG_PROBS, TARGET)
    softened = np.array([[0.7 + 0.1, 0.1, 0.1], [0.1, 0.7 + 0.1, 0.1]])
    assert float(value) == pytest.approx(-(softened * LOG_PROBS[0].numpy()).sum(1).mean(), rel=1e-14)
    assert float(loss) == pytest.approx(LOSS, rel=1e-14)


def test_activations_are_regularized_as_written_out() -> None:
    output = torch.tensor([[[1.0, -2.0], [4.0, 0.0]]], dtype=torch.float64)
    dropped = torch.tensor([[[2.0, 0.0], [8.0, 0.0]]], dtype=torch.float64)
    seen = Activations(output, dropped)
    still = objective_of(activation_regularization=0.5)
    assert float(still(LOG_PROBS, TARGET, seen)[0]) == pytest.approx(LOSS + 0.5 * (4 + 64) / 4, rel=1e-14)
    slow = objective_of(temporal_activation_regularization=0.25)
    assert float(slow(LOG_PROBS, TARGET, seen)[0]) == pytest.approx(LOSS + 0.25 * (9 + 4) / 2, rel=1e-14)
    both = objective_of(activation_regularization=0.5, temporal_activation_regularization=0.25)
    assert float(both(LOG_PROBS, TARGET, seen)[0]) == pytest.approx(LOSS + 8.5 + 0.25 * 6.5, rel=1e-14)
    assert float(both(LOG_PROBS, TARGET, seen)[1]) == pytest.approx(LOSS, rel=1e-14)


def test_a_single_character_has_no_change_to_regularize() -> None:
    one = Activations(torch.ones(1, 1, 2), torch.ones(1, 1, 2))
    value, loss = objective_of(temporal_activation_regularization=3.0)(LOG_PROBS[:, :1], TARGET[:, :1], one)
    assert float(value) == float(loss) == pytest.approx(np.log(2))


def test_with_nothing_on_the_loss_itself_is_minimized() -> None:
    plain = objective_of()
    value, loss = plain(LOG_PROBS, TARGET)
    assert value is loss


ROWS, VOCABULARY = 7, 11


def stepper(kind: str = "lstm", precision: str = "float64", **training: Any) -> TrainStep:
    config = small_config(model={"type": kind, "dropout": 0.0}, training={"precision": precision, **training})
    torch.manual_seed(0)
    model = build_model(config.model, VOCABULARY, dtype=config.training.parameter_type)
    return TrainStep(model, config.training, torch.device("cpu"), ROWS)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, VOCABULARY, (ROWS, 6), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def gradients(model: CharModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def written_out(one: TrainStep) -> dict[str, torch.Tensor]:
    """The gradient of the whole batch's objective, from the model's activations."""
    (x, y), training = batch(), one.training
    log_probs, _, (output, dropped) = one.model.with_activations(x)
    log_probs = log_probs.flatten(0, 1)
    smoothed = F.cross_entropy(log_probs, y.flatten(), label_smoothing=training.label_smoothing)
    size = (dropped**2).mean() * training.activation_regularization
    change = ((output[:, 1:] - output[:, :-1]) ** 2).mean() * training.temporal_activation_regularization
    one.model.zero_grad()
    (smoothed + size + change).backward()
    return gradients(one.model)


@pytest.mark.parametrize("kind", BUILT_IN)
@pytest.mark.parametrize("micro_batch", [1, 2, None])
def test_parts_of_a_batch_add_up_to_the_objective_of_the_whole(kind: str, micro_batch: int | None) -> None:
    one = stepper(kind, micro_batch_size=micro_batch, **REGULARIZED)
    expected = written_out(one)
    loss, _ = one.gradient(*batch(), None)
    for name, gradient in gradients(one.model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-14, msg=name)
    assert loss == pytest.approx(stepper(kind).gradient(*batch(), None)[0], rel=1e-14)


def test_processes_that_share_a_batch_add_up_to_the_objective_of_the_whole() -> None:
    """Three rows and four, as two processes have them; their gradients and losses are summed."""
    one = stepper(**REGULARIZED)
    expected, (x, y) = written_out(one), batch()
    total, loss = {name: torch.zeros_like(gradient) for name, gradient in expected.items()}, 0.0
    for rows in (slice(0, 3), slice(3, 7)):
        loss += one.gradient(x[rows], y[rows], None)[0]
        total = {name: total[name] + gradient for name, gradient in gradients(one.model).items()}
    for name, gradient in total.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-14, msg=name)
    assert loss == pytest.approx(stepper().gradient(x, y, None)[0], rel=1e-14)


def test_what_is_shown_and_guarded_is_the_likelihood_alone() -> None:
    """A penalty of millions is no explosion."""
    heavy = stepper(activation_regularization=1e9, grad_clip=1.0)
    losses = [heavy.step(*batch(), None, 1e-3)[0] for _ in range(3)]
    assert losses[0] == pytest.approx(stepper().step(*batch(), None, 1e-3)[0], rel=1e-14)
    assert heavy.guard.first == losses[0]
    assert all(loss < 3 for loss in losses)


@pytest.mark.parametrize("option", REGULARIZED)
def test_each_is_pulled_down_by_its_own_weight(option: str) -> None:
    """After some steps the outputs are smaller, steadier, or the predictions less sure than without."""
    plain, regularized = stepper(), stepper(**{option: 0.9 if option == "label_smoothing" else 50.0})
    measures = []
    for one in (plain, regularized):
        for _ in range(30):
            one.step(*batch(), None, 0.01)
        with torch.no_grad():
            log_probs, _, (output, _) = one.model.with_activations(batch()[0])
        measures.append(
            {
                "label_smoothing": -float(log_probs.mean()),
                "activation_regularization": float(output.square().mean()),
                "temporal_activation_regularization": float(output.diff(dim=1).square().mean()),
            }[option]
        )
    assert measures[1] < 0.85 * measures[0]


def test_in_half_precision_the_objective_is_that_of_single_precision() -> None:
    half, single = stepper(precision="bfloat16", **REGULARIZED), stepper(precision="float32", **REGULARIZED)
    for one in (half, single):
        one.gradient(*batch(), None)
    for name, expected in gradients(single.model).items():
        found = gradients(half.model)[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02 * float(expected.abs().max()), msg=name)
