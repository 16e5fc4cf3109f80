"""One step: in parts as in one piece, when memory runs out, in half precision, with the mean of the parameters."""

from __future__ import annotations

import math
import shutil
import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from training_helpers import REGULARIZED, Events, small_config

from char_rnn.cells import BUILT_IN
from char_rnn.models import build_model
from char_rnn.training import CharRNNTrainer
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.train_step import Precision, TrainStep

CPU = torch.device("cpu")


def stepper(
    kind: str = "lstm", rows: int = 7, precision: str = "float64", model: dict[str, Any] | None = None, **training: Any
) -> TrainStep:
    config = small_config(
        model={"type": kind, "dropout": 0.0, **(model or {})}, training={"precision": precision, **training}
    )
    torch.manual_seed(0)
    built = build_model(config.model, 11, dtype=config.training.parameter_type)
    return TrainStep(built, config.training, CPU, rows)


def batch(rows: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(0, 11, (rows, 6), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def as_one(hidden: Any) -> torch.Tensor:
    return torch.stack(hidden) if isinstance(hidden, tuple) else hidden


@pytest.mark.parametrize(
    ("kind", "micro_batch"), [*(("lstm", size) for size in (1, 3, 6, 7, 100)), *((kind, 2) for kind in BUILT_IN)]
)
def test_parts_of_a_batch_are_the_batch(kind: str, micro_batch: int) -> None:
    """Loss, carried state and parameters after three steps, whatever the number of sequences at once."""
    whole, parts = stepper(kind), stepper(kind, micro_batch_size=micro_batch)
    states: list[Any] = [None, None]
    for _ in range(3):
        losses = []
        for number, one in enumerate((whole, parts)):
            loss, states[number] = one.step(*batch(), states[number], 0.01)
            losses.append(loss)
        assert losses[0] == pytest.approx(losses[1], rel=1e-14)
        torch.testing.assert_close(as_one(states[0]), as_one(states[1]), rtol=0, atol=1e-13)
    for name, parameter in whole.model.named_parameters():
        torch.testing.assert_close(parts.model.get_parameter(name), parameter, rtol=0, atol=1e-12)


def test_the_graph_of_a_part_is_gone_when_the_next_begins() -> None:
    parts, made = stepper(micro_batch_size=2, **REGULARIZED), []
    predict, objective = parts._predict, parts.objective

    def watched_predict(*arguments: Any) -> Any:
        assert not [tensor for tensor in made if tensor() is not None]
        log_probs, state, activations = predict(*arguments)
        made.extend(map(weakref.ref, (log_probs, *state, *activations)))
        return log_probs, state, activations

    def watched_objective(*arguments: Any) -> Any:
        results = objective(*arguments)
        made.extend(map(weakref.ref, results))
        return results

    parts._predict, parts.objective = watched_predict, watched_objective
    parts.step(*batch(), None, 0.01)
    assert len(made) == 4 * (5 + 2)


class Cramped:
    """Runs out of memory when more than ``most`` sequences come at once."""

    def __init__(self, one: TrainStep, most: int, error: Exception) -> None:
        self.predict, self.most, self.error = one._predict, most, error
        self.seen: list[int] = []

    def __call__(self, x: torch.Tensor, hidden: Any) -> Any:
        self.seen.append(len(x))
        if len(x) > self.most:
            raise self.error
        return self.predict(x, hidden)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_what_is_computed_at_once(error: Exception) -> None:
    roomy, cramped = stepper(), stepper()
    cramped._predict = Cramped(cramped, 2, error)
    expected, _ = roomy.step(*batch(), None, 0.01)
    loss, hidden = cramped.step(*batch(), None, 0.01)
    assert cramped._predict.seen == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert (cramped.micro_batch, loss) == (1, pytest.approx(expected, rel=1e-14))
    assert as_one(hidden).shape[2] == 7
    for name, parameter in roomy.model.named_parameters():
        torch.testing.assert_close(cramped.model.get_parameter(name), parameter, rtol=0, atol=1e-12)


def test_a_single_sequence_that_does_not_fit_ends_the_run() -> None:
    cramped = stepper()
    cramped._predict = Cramped(cramped, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        cramped.step(*batch(), None, 0.01)
    assert cramped._predict.seen == [7, 3, 1]


def test_other_errors_are_not_taken_for_memory() -> None:
    broken = stepper()
    broken._predict = Cramped(broken, 2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        broken.step(*batch(), None, 0.01)
    assert broken.micro_batch is None


def test_a_run_that_ran_out_of_memory_says_so_and_stays_exact(make_trainer: Callable[..., CharRNNTrainer]) -> None:
    log = Events()
    trainer = make_trainer(small_config(training={"max_steps": 5}), callbacks=[log])
    trainer.stepper._predict = Cramped(trainer.stepper, 2, torch.OutOfMemoryError("CUDA out of memory"))
    trainer.train()
    assert log.events == [{"step": 0, "event": "memory", "micro_batch": 2}]
    again = make_trainer(small_config(training={"max_steps": 9}))
    again.load_state_dict(trainer.state_dict())
    assert again.stepper.micro_batch == 2
    chosen = make_trainer(small_config(training={"max_steps": 5, "micro_batch_size": 3}))
    chosen.train()
    again = make_trainer(small_config(training={"max_steps": 9}))
    again.load_state_dict(chosen.state_dict())
    assert again.stepper.micro_batch is None  # what was asked for before is no limit of the machine's
    smaller = make_trainer(small_config(training={"max_steps": 9, "micro_batch_size": 1}))
    smaller.load_state_dict(trainer.state_dict())
    assert smaller.stepper.micro_batch == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", BUILT_IN)
def test_half_precision_follows_single(kind: str, precision: str) -> None:
    """The parameters and the carried state are float32, and the losses those of float32 but for short products."""
    single, half = stepper(kind, precision="float32"), stepper(kind, precision=precision)
    states: list[Any] = [None, None]
    for _ in range(20):
        losses = []
        for number, one in enumerate((single, half)):
            loss, states[number] = one.step(*batch(), states[number], 0.01)
            losses.append(loss)
        assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]
    assert losses[1] < 2.2
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())
    assert as_one(states[1]).dtype == torch.float32


def test_a_step_that_overflows_in_float16_is_left_out() -> None:
    half = stepper(precision="float16")
    before = {name: parameter.clone() for name, parameter in half.model.named_parameters()}
    hook = half.model.output_proj.bias.register_hook(lambda gradient: gradient * torch.inf)
    scale = half.precision.state_dict().get("scale", 65536.0)
    half.step(*batch(), None, 0.01)
    hook.remove()
    assert all(torch.equal(parameter, before[name]) for name, parameter in half.model.named_parameters())
    assert half.precision.state_dict()["scale"] == scale / 2
    half.step(*batch(), None, 0.01)
    assert not torch.equal(half.model.output_proj.bias, before["output_proj.bias"])


def test_a_gradient_that_is_never_finite_ends_a_run_in_float16() -> None:
    half = stepper(precision="float16")
    half.model.output_proj.bias.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(TrainingDiverged, match="norm of the gradient is nan"):
        for _ in range(60):
            half.step(*batch(), None, 0.01)
    assert half.precision.state_dict()["scale"] < 1


def test_float16_is_refused_on_mps() -> None:
    with pytest.raises(ValueError, match=r"^training\.precision float16 does not work on MPS; set it to bfloat16"):
        Precision("float16", torch.device("mps"))


def test_the_mean_of_the_parameters_is_what_is_kept() -> None:
    averaging = stepper(averaging="polyak", averaging_start=2)
    seen = []
    for step in range(1, 6):
        averaging.step(*batch(), None, 0.01)
        averaging.averaging.after_step(step)
        assert (averaging.averaging.model is averaging.model) == (step <= 2)
        if step > 2:
            seen.append(averaging.model.output_proj.weight.detach().clone())
    mean = averaging.averaging.model.output_proj.weight
    torch.testing.assert_close(mean, torch.stack(seen).mean(0), rtol=1e-13, atol=1e-15)


def test_sgd_is_the_formula() -> None:
    one = stepper(optimizer="sgd", momentum=0.5, weight_decay=0.0, grad_clip=0.0)
    bias = one.model.output_proj.bias.detach().clone()
    velocity = torch.zeros_like(bias)
    for _ in range(4):
        one.gradient(*batch(), None)
        gradient = one.model.output_proj.bias.grad
        assert gradient is not None
        velocity = 0.5 * velocity + gradient
        bias = bias - 0.1 * velocity
        one.update(0.1)
    torch.testing.assert_close(one.model.output_proj.bias.detach(), bias, rtol=0, atol=1e-14)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_copy_of_a_compiled_model_computes_with_its_own_parameters() -> None:
    model = stepper(compile=True, model={"layer_norm": "between"}).model
    copy = deepcopy(model)
    for parameter in copy.parameters():
        torch.nn.init.zeros_(parameter)
    log_probs, _ = copy(batch()[0])
    torch.testing.assert_close(log_probs, torch.full_like(log_probs, -math.log(11)))


BLOCKS = {"embedding_size": 16, "hidden_size": 16, "layer_norm": "between", "residual": True, "feed_forward_size": 32}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # The compiler's own, which it hides.
@pytest.mark.parametrize(
    ("model", "training"),
    [({}, {}), ({}, REGULARIZED), ({**BLOCKS, "attention": "all", "attention_window": 4}, {})],
    ids=["plain", "regularized", "blocks"],
)
def test_a_compiled_model_learns_the_same(model: dict[str, Any], training: dict[str, Any]) -> None:
    plain, compiled = (stepper(precision="float32", model=model, compile=made, **training) for made in (False, True))
    for _ in range(3):
        assert compiled.step(*batch(), None, 0.01)[0] == pytest.approx(plain.step(*batch(), None, 0.01)[0], rel=1e-5)
