"""What the tests of equivalence share: a run by the exact recipe, watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flat_parameters import to_flat

from char_rnn import Config, Corpus, build_model
from char_rnn.models import CharModel
from char_rnn.torch7.random import Generator
from char_rnn.torch7.text import split_text
from char_rnn.torch7.trainer import Torch7Trainer, initialize
from char_rnn.training import Callback


class Watcher(Callback):
    """Keeps what a run computes: losses and rates of all steps, vectors in 2015's order of a few."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.gradients: list[np.ndarray] = []
        self.parameters: dict[int, np.ndarray] = {}
        self.mean_squares: np.ndarray | None = None
        self.val: dict[int, float] = {}

    def on_step(self, trainer: Any, loss: float) -> None:
        """Keep the loss, and of the first steps the vectors."""
        model = trainer.model
        self.losses.append(loss)
        self.rates.append(trainer.stepper.optimizer.param_groups[0]["lr"])
        if trainer.step <= 2:
            self.gradients.append(flat_vector(model, {name: p.grad for name, p in model.named_parameters()}))
        if trainer.step == 1:
            state = trainer.stepper.optimizer.state
            squares = {name: state[parameter]["mean_square"] for name, parameter in model.named_parameters()}
            self.mean_squares = flat_vector(model, squares)
        if trainer.step in (1, 2, 10) or trainer.step == trainer.total_steps:
            self.parameters[trainer.step] = flat_vector(model)

    def on_record(self, record: Mapping[str, Any]) -> None:
        """Keep the validation losses."""
        if record["split"] == "val":
            self.val[record["step"]] = record["loss"]


def torch7_trainer(
    corpus: Corpus, config: Config, callbacks: Sequence[Callback] = (), run_dir: Path | None = None
) -> Torch7Trainer:
    """Return a trainer at the very beginning of a run."""
    dtype = torch.float64 if config.training.precision == "float64" else torch.float32
    model = build_model(config.model, corpus.vocabulary.size, dtype=dtype)
    rng = Generator(config.training.seed)
    initialize(model, rng)
    data, training = config.data, config.training
    loaders = split_text(corpus, training.batch_size, training.seq_length, data.train_frac, data.val_frac)
    options = {"callbacks": callbacks, "run_dir": run_dir, "vocabulary": corpus.vocabulary}
    return Torch7Trainer(model, loaders, config, rng=rng, **options)


def flat_vector(model: CharModel, tensors: Mapping[str, torch.Tensor] | None = None) -> np.ndarray:
    """Return a model's parameters, or others by their names, in 2015's order."""
    named = model.state_dict() if tensors is None else tensors
    arrays = {name: tensor.detach().numpy().copy() for name, tensor in named.items()}
    return to_flat(model.cell.name, model.vocab_size, model.hidden_size, model.num_layers, arrays)
