"""Ways to train: the bare PyTorch loop and this package's trainer, on the same batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from char_rnn.bench.processes import page_faults, peak_mb
from char_rnn.bench.timing import in_turn, ratio
from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import build_model
from char_rnn.training.progress import LineProgress
from char_rnn.training.trainer import CharRNNTrainer
from char_rnn.utils.allocator import memory_kept
from char_rnn.utils.config import Config

MODULES: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
VOCABULARY = 65
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """What is trained: the cell, its units and layers, sequences in a batch and steps in a sequence."""

    cell: str = "lstm"
    hidden: int = 128
    layers: int = 2
    batch: int = 50
    length: int = 50

    @property
    def characters(self) -> int:
        """How many a step predicts."""
        return self.batch * self.length

    def __str__(self) -> str:
        return f"{self.cell} {self.layers}x{self.hidden}, batch {self.batch}x{self.length}"


SHAPES = {
    "default": Shape(),
    "quickstart": Shape("lstm", 384, 1, 16, 64),
    "gru": Shape("gru"),
    "rnn": Shape("rnn"),
    "tiny": Shape("lstm", 32, 1, 16, 32),
}


def random_text(characters: int) -> Corpus:
    """Return a random text over 65 characters."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, characters)
    return Corpus.from_text("".join(map(chr, ids + 40)))


def as_string(text: Corpus, characters: int | None = None) -> str:
    """Return the beginning of a text; a small one whole."""
    return text.vocabulary.decode(np.asarray(text.ids[:characters]))


def text_of(shape: Shape, steps: int) -> Corpus:
    """Return a random text of so many batches."""
    return random_text(shape.characters * steps + shape.batch)


def batches_of(text: Corpus, shape: Shape) -> list[Batch]:
    """Return a text's batches, ready in memory."""
    return list(create_dataloaders(CharDataset(text, shape.length, 1.0, 0.0), shape.batch)["train"].epoch(0))


class BareLoop:
    """What anyone would write: embedding, recurrent module, output, cross-entropy, AdamW, clipping, carried state.

    Args:
        shape: what is trained.
        symbols: size of the vocabulary, V; also of the embedding.
        learning_rate: constant.
    """

    def __init__(self, shape: Shape, symbols: int = VOCABULARY, learning_rate: float = 1e-3) -> None:
        self.embedding, self.output = nn.Embedding(symbols, symbols), nn.Linear(shape.hidden, symbols)
        self.cell = MODULES[shape.cell](symbols, shape.hidden, shape.layers, batch_first=True)
        self.parameters = [*self.embedding.parameters(), *self.cell.parameters(), *self.output.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=1e-5, fused=True)
        self.state: Any = None

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on one batch, (B, T) each; return the loss, nats per character."""
        out, state = self.cell(self.embedding(x), self.state)
        loss = nn.functional.cross_entropy(self.output(out).flatten(0, 1), y.flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        self.state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return loss

    def epoch(self, batches: Sequence[Batch]) -> None:
        """Train once over the batches, from a state of zeros."""
        self.state = None
        for x, y in batches:
            self.step(x, y)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters by the names of this package's models."""
        parts = {"embedding": self.embedding, type(self.cell).__name__.lower(): self.cell, "output_proj": self.output}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def config_of(shape: Shape, **training: Any) -> Config:
    """Return a configuration of the shape that neither evaluates nor saves on the way."""
    sections = {
        "model": {"type": shape.cell, "hidden_size": shape.hidden, "num_layers": shape.layers, "dropout": 0.0},
        "training": {"batch_size": shape.batch, "seq_length": shape.length, "learning_rate": 1e-3,
                     "eval_interval": 10**9, "max_epochs": 10**6, **training},
        "logging": {"save_interval": 10**9, "log_interval": 10},
    }  # fmt: skip
    return Config.model_validate(sections)


def speeds(shape: dict[str, Any], steps: int, rounds: int, threads: int | None, kept: bool) -> dict[str, float]:
    """Train the bare loop and the trainer in turn; for a process of its own, whose memory is kept or given back.

    Args:
        shape: the arguments of :class:`Shape`.
        steps: those of a round.
        rounds: how many, after one that warms up.
        threads: PyTorch's; its own choice when not given.
        kept: whether freed memory stays in the process, for both sides alike; else the C library's default.

    Returns:
        Characters/s of both (medians), the median ratio of their seconds, page faults a step of both together, and the
        largest resident memory in 10^6 bytes.
    """
    if threads:
        torch.set_num_threads(threads)
    made = Shape(**shape)
    text = text_of(made, steps)
    batches = batches_of(text, made)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder, memory_kept() if kept else nullcontext():
        bare = BareLoop(made)
        sides = {"bare": lambda: bare.epoch(batches), "trainer": trainer_loop(made, text, Path(folder))}
        in_turn(sides, 0)
        before = page_faults()
        timings = in_turn(sides, rounds, warmup=0)
    characters = made.characters * steps
    return {
        **{side: characters / timing.median for side, timing in timings.items()},
        "ratio": ratio(timings, "trainer", "bare"),
        "spread": timings["trainer"].spread,
        "faults": (page_faults() - before) / (rounds * steps),
        "peak": peak_mb(),
    }


def trainer_loop(shape: Shape, text: Corpus, folder: Path) -> Callable[[], float]:
    """Return a function that trains once over the text, with the trainer and all its listeners."""
    from rich.console import Console

    config = config_of(shape)
    trainer = CharRNNTrainer(
        build_model(config.model, VOCABULARY),
        create_dataloaders(CharDataset(text, shape.length, 1.0, 0.0), shape.batch),
        config,
        vocabulary=text.vocabulary,
        run_dir=folder,
        callbacks=[LineProgress(Console(file=StringIO()))],
    )
    trainer.recorder.tell("on_start", trainer)
    return trainer.train_epoch
