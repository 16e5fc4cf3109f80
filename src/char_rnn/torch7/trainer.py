"""Training as ``train.lua`` did it: in float64 on the CPU the same numbers, elsewhere the same recipe.

Counting, records, checkpoints, resuming and signals are those of the modern trainer. Different are the generator's
draws and their order, the batches, the loss summed over time, the element-wise clip, the state that is never reset, the
validation by batches, when the learning rate falls, and the aliasing that :mod:`char_rnn.torch7.network` explains.

Dimensions: B batch, T time, V vocabulary, H hidden, L layers, P all parameters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from char_rnn.data.corpus import SPLITS, Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.datasets import Progress
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharModel, Hidden
from char_rnn.torch7 import layout
from char_rnn.torch7.network import UnrolledNetwork
from char_rnn.torch7.random import Generator
from char_rnn.torch7.text import read_caches, split_text
from char_rnn.training.backend import TrainerBackend
from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import DamagedStateError, TrainingState
from char_rnn.training.evaluation import Evaluation
from char_rnn.training.loss import LossGuard, TrainingDiverged
from char_rnn.training.optimizers import gradient_norm
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.config import Config

RANGE = 0.08
FORGET_BIAS = 1.0
RNG = "torch7.rng"


class Torch7Backend(TrainerBackend):
    """The backend of ``training.trainer: torch7``, for one run: its model and its trainer share one generator."""

    name = "torch7"
    one_process = True
    _rng: Generator

    def corpus(
        self, config: Config, vocabulary: str | Vocabulary, progress: Progress | None = None, *, grow: bool = False
    ) -> Corpus:
        """Encode the text; that of a folder comes from its ``vocab.t7`` and ``data.t7`` if they are up to date."""
        if grow:
            raise ValueError("training.trainer torch7 cannot grow a vocabulary; train with training.trainer modern")
        folder = Path(config.data.sources[0])
        alone = len(config.data.sources) == 1
        cached = read_caches(folder) if alone and os.path.isdir(folder) else None  # noqa: PTH112 (no error for any text)
        if cached is None:
            return super().corpus(config, vocabulary, progress)
        known = vocabulary if isinstance(vocabulary, Vocabulary) else cached.vocabulary
        return Corpus.from_text(cached.text, name=folder.resolve().name, vocabulary=known)

    def model(self, config: Config, vocab_size: int, tensors: Mapping[str, np.ndarray] | None = None) -> CharModel:
        """Initialize a new model, or use the given weights: then nothing is drawn, and forget biases are 1 again."""
        self._rng = Generator(config.training.seed)
        model = super().model(config, vocab_size, tensors)
        if tensors is None:
            initialize(model, self._rng)
        else:
            set_forget_bias(model)
        return model

    def dataloaders(self, config: Config, corpus: Corpus, device: torch.device, rows: slice) -> dict[str, Batches]:
        """Split the text and cut it into batches as ``train.lua``."""
        training, data = config.training, config.data
        return split_text(corpus, training.sequences, training.seq_length, data.train_frac, data.val_frac)

    def trainer(self, *arguments: Any, **options: Any) -> Torch7Trainer:
        """Make the trainer, which continues the model's generator."""
        return Torch7Trainer(*arguments, rng=self._rng, **options)


@torch.no_grad()
def initialize(model: CharModel, rng: Generator) -> None:
    """Draw a model's parameters in 2015's order.

    Each Linear draws its parameters when it is made, P numbers in all, which are discarded. Then the flat vector is
    filled.
    """
    sizes = model.cell.name, model.vocab_size, model.hidden_size, model.num_layers
    count = sum(linear.size for linear in layout.linears(*sizes))
    rng.words(count)
    drawn = layout.to_tensors(*sizes, rng.uniform(-RANGE, RANGE, count))
    model.load_state_dict({name: torch.from_numpy(values) for name, values in drawn.items()})
    set_forget_bias(model)


@torch.no_grad()
def set_forget_bias(model: CharModel) -> None:
    """Set the forget gates' biases of an LSTM to 1; ``train.lua`` does so with a model it continues, too."""
    if model.cell.name == "lstm":
        for _, _, bias_ih, _ in map(model.layers.weights, range(model.num_layers)):
            bias_ih.chunk(4)[1].fill_(FORGET_BIAS)


class FirstLossGuard(LossGuard):
    """Compares each loss with the first one, as ``train.lua``."""

    def _judge(self, loss: float, first: float) -> None:
        if self.factor > 0 and loss > self.factor * first:
            raise TrainingDiverged(
                f"the loss is {loss:.4g}, more than {self.factor:g} times the first, {first:.4g}"
                " (training.explosion_factor)"
            )


class Torch7Trainer(CharRNNTrainer):
    """Trains as the 2015 program, with the batches of :func:`char_rnn.torch7.text.split_text`.

    Args:
        model: A model with a one-hot embedding (and the reset before the product in a GRU), in the precision to train.
        rng: Generator as the model's initialization left it.
    """

    network: UnrolledNetwork
    _tests_best = False  # train.lua does not

    def __init__(self, *arguments: Any, rng: Generator, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rng = rng
        self.step_seconds = math.nan

    @property
    def hidden(self) -> Hidden | None:
        """State before the next window; None before the first."""
        return None if self.network.fresh else self.network.hidden

    @hidden.setter
    def hidden(self, value: Hidden | None) -> None:
        # None, at the end of an epoch, changes nothing: the state is carried into the next.
        if value is not None:
            self.network.hidden = value

    def move_to(self, device: torch.device) -> None:
        """See :meth:`CharRNNTrainer.move_to`."""
        super().move_to(device)
        self.stepper.guard = FirstLossGuard(self.config.training.explosion_factor)
        self.network = UnrolledNetwork(self.model, self.config.training.seq_length, self.train_batches.batch_size)

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Learn from one batch, ids (B, T) each; return the mean loss in nats per character, before the update."""
        began = self.timer.now()
        loss = self.network.train(x.to(self.device), y.to(self.device), self._masks()).item()
        if limit := self.config.training.grad_clip:
            torch.nn.utils.clip_grad_value_(self.stepper.parameters, limit)
        self.stepper.update(self.plan.learning_rate(self.step))
        self.step_seconds = self.timer.now() - began
        self.timer.seconds_in_steps += self.step_seconds
        return loss

    def evaluate(self, split: str) -> Evaluation:
        """Measure a split as in 2015: from a zero state, over whole batches of equal weight, without dropout.

        Training continues from the state at its end; see :mod:`char_rnn.torch7.network`.
        """
        batches = self.dataloaders[split]
        size = batches.batch_size * batches.seq_length
        count = len(batches) * size
        self.metrics.tell("on_evaluating", split, 0, count)
        self.network.reset()
        total = 0.0
        for number, (x, y) in enumerate(batches.epoch(0), 1):
            total += self.network.evaluate(x.to(self.device), y.to(self.device)).item()
            self.metrics.tell("on_evaluating", split, number * size, count)
        return Evaluation(total / len(batches), count)

    def keep_evaluated(self, val: Evaluation | None) -> None:
        """Write the checkpoint by its name of 2015.

        As in 2015, it goes to ``logging.checkpoint_dir`` if the run folder is in it; otherwise to the run folder.
        """
        if self.run_dir is not None:
            folder = Path(self.config.logging.checkpoint_dir)
            inside = self.run_dir.resolve().parent == folder.resolve()
            path = (folder if inside else self.run_dir) / self.checkpoint_name(val)
            self.metrics.tell("on_checkpoint", path)
            self.save_checkpoint(path)

    def checkpoint_name(self, val: Evaluation | None) -> str:
        """Return the name of a checkpoint: its model, epochs and validation loss."""
        savefile = self.config.logging.savefile or self.config.model.type
        loss = math.nan if val is None else val.loss
        return f"lm_{savefile}_epoch{self.step / len(self.train_batches):.2f}_{loss:.4f}.safetensors"

    def state_dict(self) -> TrainingState:
        """Return everything needed to resume, the generator included."""
        tensors, counters = super().state_dict()
        return TrainingState({**tensors, RNG: torch.from_numpy(self.rng.state_array().astype(np.int64))}, counters)

    def load_state_dict(self, state: TrainingState) -> None:
        """Restore what ``state_dict`` returned; see :meth:`CharRNNTrainer.load_state_dict`."""
        super().load_state_dict(state)
        try:
            self.rng.load_state_array(state.tensors[RNG].numpy())
        except (KeyError, ValueError):
            raise DamagedStateError("damaged: the state of the random generator is missing or invalid") from None

    @property
    def failing_step(self) -> int:
        """Step whose loss diverged; its update has been made."""
        return self.step

    def _after_step(self, loss: float) -> None:
        """Record, then evaluate, print and check the loss, in the order of ``train.lua``.

        An evaluation saves the running mean and the first loss, so both are updated before it.
        """
        ends, guard = self.step >= self.total_steps, self.stepper.guard
        if ends or self.step % self.config.logging.log_interval == 0:
            self.stepper.gradient_norm = gradient_norm(self.stepper.parameters)
            self._record_training()
        if guard.first is None and math.isfinite(loss):
            guard.first = loss
        if ends or self.step % self.config.training.eval_interval == 0:
            self.evaluate_and_save()
        self.metrics.tell("on_step", self, loss)
        guard.check(loss)

    def _masks(self) -> torch.Tensor | None:
        """Draw dropout masks, (T, L, B, H), of 0 or 1 / (1 - p): for each step of a window the layers in turn."""
        p = self.model.dropout
        if not p:
            return None
        batches, model = self.train_batches, self.model
        shape = (batches.seq_length, model.num_layers, batches.batch_size, model.hidden_size)
        kept = torch.from_numpy(self.rng.bernoulli(1 - p, math.prod(shape))).view(shape)
        return kept.to(self.device, model.output_proj.weight.dtype).div_(1 - p)


class TrainLuaLines(Callback):
    """Prints the lines of ``train.lua``, for scripts that read them and for users who know them."""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Write the lines about the text and the model."""
        model = trainer.config.model
        self._batch = trainer.train_batches.batch_size * trainer.train_batches.seq_length
        counts = {name: len(trainer.dataloaders.get(name, ())) for name in SPLITS}
        self._write("loading data files...")
        self._write("cutting off end of data so that the batches/sequences divide evenly")
        self._write("reshaping tensor...")
        if sum(counts.values()) < 50:
            self._write("WARNING: less than 50 batches in the data; try a smaller batch_size or seq_length")
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        self._write(f"data load done. Number of data batches in {listed}")
        self._write(f"vocab size: {trainer.model.vocab_size}")
        made = f"an {model.type} with {model.num_layers} layers"
        origin = trainer.checkpoints.metadata.get("init_from")
        if trainer.step:
            self._write(f"continuing after iteration {trainer.step} of {made}")
        else:
            self._write(f"loading {origin}, {made}" if origin else f"creating {made}")
        if model.type == "lstm" and not trainer.step:
            for layer in range(1, model.num_layers + 1):
                self._write(f"setting forget gate biases to 1 in LSTM layer {layer}")
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        self._write(f"number of parameters in the model: {parameters}")

    def on_evaluating(self, split: str, done: int, total: int) -> None:
        """Write the progress of the validation, in batches."""
        self._write(
            f"{done // self._batch}/{total // self._batch}..." if done else "evaluating loss over split index 2"
        )

    def on_checkpoint(self, path: Path) -> None:
        """Write the path of the checkpoint."""
        self._write(f"saving checkpoint to {path}")

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Write the step's line; its ratio is of the clipped gradient and the parameters after the update."""
        assert isinstance(trainer, Torch7Trainer)
        step, total = trainer.step, trainer.total_steps
        if step % trainer.config.logging.log_interval == 0:
            epoch, parameters = step / len(trainer.train_batches), trainer.stepper.parameters
            ratio = gradient_norm(parameters) / float(torch.nn.utils.get_total_norm(parameters))
            self._write(
                f"{step}/{total} (epoch {epoch:.3f}), train_loss = {loss:6.8f}, "
                f"grad/param norm = {ratio:6.4e}, time/batch = {trainer.step_seconds:.4f}s"
            )

    def _write(self, line: str) -> None:
        print(line, flush=True)
