"""What a device is given to compute, and the answers: those of the CPU in float64.

Dimensions: B batch, T time, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig

CELLS: Mapping[str, Callable[..., CharModel]] = {
    "lstm": CharLSTM,
    "gru": CharGRU,
    "gru-before": partial(CharGRU, reset="before"),
    "rnn": CharRNN,
}
"""The recurrent cells; ``gru-before`` is ``model.type=gru`` with ``model.reset=before``."""

LAYERS, SEED, RATE = 2, 2015, 2e-3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """How much the checks compute; the defaults are what a user gets.

    Attributes:
        vocabulary: V.
        hidden: H.
        batch: B and T of the forward pass and the gradients.
        steps: Training steps that are compared.
        trained: B and T of each of them.
        large: B and T that together pass 32,768 symbols.
        draws: Rows of 65,536 probabilities that are drawn from on the CPU; other devices, six times as many.
        leak_hidden: H in the check of the memory: what leaks grows with it.
        leak_steps: Training steps between two looks at the memory.
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
    """One pass forward and back, on the CPU in float64 whatever computed it.

    Attributes:
        log_probs: (B, T, V), in nats.
        gradients: Of the mean loss, by parameter.
    """

    log_probs: Tensor
    gradients: Mapping[str, Tensor]


@dataclass(frozen=True)
class Trained:
    """The end of a training run.

    Attributes:
        loss: Of the last step, in nats per character.
        start: The parameters before the first step, by name, on the CPU in float64.
        parameters: Those after the last.
    """

    loss: float
    start: Mapping[str, Tensor]
    parameters: Mapping[str, Tensor]


class Problem:
    """A cell's starting weights and data, the same for every device, and the float64 answers, each computed once.

    Args:
        cell: One of `CELLS`.
        sizes: How much there is to compute.
    """

    def __init__(self, cell: str, sizes: Sizes) -> None:
        self.cell, self.sizes = cell, sizes
        torch.manual_seed(SEED)
        self._model = CELLS[cell](sizes.vocabulary, sizes.hidden, LAYERS)

    def model(self, dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> CharModel:
        """Return a new model of the starting weights, on the CPU."""
        model = deepcopy(self._model).to(dtype)
        model.dropout = dropout
        return model

    def ids(self, batch: int, time: int) -> Tensor:
        """Return random symbols, (B, T + 1): the inputs and, one on, the targets."""
        generator = torch.Generator().manual_seed(SEED)
        return torch.randint(self.sizes.vocabulary, (batch, time + 1), generator=generator)

    @cached_property
    def answer(self) -> Computed:
        """The pass that `Sizes.batch` asks for."""
        return compute(self.model(torch.float64), self.ids(*self.sizes.batch), CPU)

    @cached_property
    def large_answer(self) -> Computed:
        """The pass that `Sizes.large` asks for."""
        return compute(self.model(torch.float64), self.ids(*self.sizes.large), CPU)

    @cached_property
    def trained(self) -> Trained:
        """The training that `Sizes.steps` asks for."""
        return self.train(self.model(torch.float64), CPU)

    def train(self, model: CharModel, device: torch.device) -> Trained:
        """Train a model that stands on the device, by the package's own steps, on a text that repeats itself."""
        batch, time = self.sizes.trained
        stepper = TrainStep(model, TrainingConfig(), device)
        text = self.ids(batch, 96).repeat(1, self.sizes.steps * time // 96 + 2)
        start, loss, hidden = _parameters(model), 0.0, None
        for step in range(self.sizes.steps):
            window = text[:, step * time : (step + 1) * time + 1]
            loss, hidden = stepper.step(window[:, :-1], window[:, 1:], hidden, RATE)
        return Trained(loss, start, _parameters(model))


def compute(model: CharModel, ids: Tensor, device: torch.device) -> Computed:
    """Run ids (B, T + 1) forward and back through a model that stands on the device."""
    ids = ids.to(device)
    log_probs, _ = model(ids[:, :-1])
    model.zero_grad()
    F.nll_loss(log_probs.flatten(0, 1), ids[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return Computed(exact(log_probs), {name: exact(grad) for name, grad in gradients.items() if grad is not None})


def exact(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU in float64, which not every device has."""
    return tensor.detach().cpu().to(torch.float64, copy=True)


def _parameters(model: CharModel) -> dict[str, Tensor]:
    return {name: exact(parameter) for name, parameter in model.named_parameters()}
