"""The devices, the computations that they are given, and the reference results: the CPU's in float64.

Dimensions: B batch, T time, V vocabulary, H hidden, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import memory_in_use

CELLS: Mapping[str, Callable[..., CharModel]] = {
    "lstm": CharLSTM,
    "gru": CharGRU,
    "gru-before": partial(CharGRU, reset="before"),
    "rnn": CharRNN,
}
"""The recurrent cells; ``gru-before`` is ``model.type=gru`` with ``model.reset=before``."""

LAYERS, SEED, RATE = 2, 2015, 2e-3
CPU = torch.device("cpu")


class Backend:
    """A device of this machine: cpu, cuda or mps. Tests replace it by one that computes incorrectly."""

    def __init__(self, kind: str) -> None:
        self.name = kind
        self.device = torch.device(kind)

    def place(self, model: CharModel) -> CharModel:
        """Move a model to the device."""
        return model.to(self.device)

    def draw(self, probabilities: Tensor, count: int, *, replacement: bool) -> Tensor:
        """Draw ``count`` indices for each row of probabilities (R, V); return them, (R, count), on the CPU."""
        return torch.multinomial(probabilities.to(self.device), count, replacement=replacement).cpu()

    def memory(self) -> dict[str, int]:
        """Return the memory in use, in bytes, as `char_rnn.utils.device.memory_in_use`."""
        return memory_in_use(self.device)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the checks; users get the defaults.

    Attributes:
        vocabulary: V.
        hidden: H.
        batch: B and T of the forward pass and the gradients.
        steps: Training steps to compare.
        trained: B and T of a training step.
        large: B and T whose product exceeds 32,768.
        draws: Rows of 65,536 probabilities to draw from on the CPU; six times as many on other devices.
        leak_hidden: H of the memory check; a leak grows with it.
        leak_steps: Training steps of a stretch in the memory check.
    """

    vocabulary: int = 65
    hidden: int = 32
    batch: tuple[int, int] = (16, 32)
    steps: int = 200
    trained: tuple[int, int] = (8, 16)
    large: tuple[int, int] = (8194, 4)
    draws: int = 1024
    leak_hidden: int = 128
    leak_steps: int = 40


@dataclass(frozen=True)
class Computed:
    """Log-probabilities (B, T, V) in nats, and the gradients of the mean loss by parameter; float64 on the CPU."""

    log_probs: Tensor
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True)
class TrainingOutcome:
    """Last loss of a training run in nats per character, and the parameters before and after, in float64."""

    loss: float
    start: Mapping[str, Tensor]
    parameters: Mapping[str, Tensor]


class Problem:
    """Initial weights and data of a cell, the same for every device, and the float64 results."""

    def __init__(self, cell: str, sizes: Sizes) -> None:
        self.cell, self.sizes = cell, sizes
        torch.manual_seed(SEED)
        self._model = CELLS[cell](sizes.vocabulary, sizes.hidden, LAYERS)

    def model(self, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> CharModel:
        """Return a new model with the initial weights, on the CPU."""
        model = deepcopy(self._model).to(dtype)
        model.dropout = dropout
        return model

    def ids(self, batch: int, time: int) -> Tensor:
        """Return random symbols, (B, T + 1): the inputs and, shifted by one, the targets."""
        generator = torch.Generator().manual_seed(SEED)
        return torch.randint(self.sizes.vocabulary, (batch, time + 1), generator=generator)

    @cached_property
    def answer(self) -> Computed:
        """The pass over `Sizes.batch`."""
        return compute(self.model(torch.float64), self.ids(*self.sizes.batch), CPU)

    @cached_property
    def large_answer(self) -> Computed:
        """The pass over `Sizes.large`."""
        return compute(self.model(torch.float64), self.ids(*self.sizes.large), CPU)

    @cached_property
    def trained(self) -> TrainingOutcome:
        """The training run of `Sizes.steps`."""
        return self.train(self.model(torch.float64), CPU)

    def train(self, model: CharModel, device: torch.device) -> TrainingOutcome:
        """Train a model on its device, with the package's own steps, on a text that repeats itself."""
        batch, time = self.sizes.trained
        stepper = TrainStep(model, TrainingConfig(), device)
        text = self.ids(batch, 96).repeat(1, self.sizes.steps * time // 96 + 2)
        start, loss, hidden = _parameters(model), 0.0, None
        for step in range(self.sizes.steps):
            window = text[:, step * time : (step + 1) * time + 1]
            loss, hidden = stepper.step(window[:, :-1], window[:, 1:], hidden, RATE)
        return TrainingOutcome(loss, start, _parameters(model))


def compute(
    model: CharModel, ids: Tensor, device: torch.device, context: AbstractContextManager[Any] | None = None
) -> Computed:
    """Run ids (B, T + 1) forward, in a context, and backward through a model on its device."""
    ids = ids.to(device)
    with context or nullcontext():
        log_probs, _ = model(ids[:, :-1])
    model.zero_grad()
    F.nll_loss(log_probs.flatten(0, 1), ids[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return Computed(exact(log_probs), {name: exact(grad) for name, grad in gradients.items() if grad is not None})


@contextmanager
def whole_float32() -> Iterator[None]:
    """Turn off cuDNN's TF32, whose rounding errors would hide other errors."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def exact(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU in float64, which some devices lack."""
    return tensor.detach().cpu().to(torch.float64, copy=True)


def _parameters(model: CharModel) -> dict[str, Tensor]:
    return {name: exact(parameter) for name, parameter in model.named_parameters()}
