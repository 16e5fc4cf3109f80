"""What training is compared with: the bare PyTorch loop, on the same shapes.

Dimensions:
    B: sequences in a batch, T: their steps, V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.utils.config import Config

MODULES: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
VOCABULARY = 65
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """A model (``lstm``, ``gru`` or ``rnn``), and its batches of B sequences (``batch``) of T characters."""

    cell: str = "lstm"
    hidden: int = 128
    layers: int = 2
    batch: int = 50
    length: int = 50
    embedding: int | None = None  # its size; None for that of the vocabulary

    @property
    def characters(self) -> int:
        """Characters that a step predicts."""
        return self.batch * self.length

    def __str__(self) -> str:
        return f"{self.cell} {self.layers}x{self.hidden}, batch {self.batch}x{self.length}"


def config_of(shape: Shape, model: Mapping[str, Any] | None = None, **training: Any) -> Config:
    """Return the configuration of a shape, without evaluations and checkpoints, with further settings."""
    sections = {
        "model": {"type": shape.cell, "hidden_size": shape.hidden, "num_layers": shape.layers, "dropout": 0.0,
                  "embedding_size": shape.embedding, **(model or {})},
        "training": {"batch_size": shape.batch, "seq_length": shape.length, "learning_rate": 1e-3,
                     "eval_interval": 10**9, "max_epochs": 10**6, **training},
        "logging": {"save_interval": 10**9, "log_interval": 10, "tensorboard": False},
    }  # fmt: skip
    return Config.model_validate(sections)


def random_text(characters: int) -> Corpus:
    """Return a random text over 65 characters."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, characters)
    return Corpus.from_text("".join(map(chr, ids + 40)))


def text_of(shape: Shape, steps: int) -> Corpus:
    """Return a random text of ``steps`` batches."""
    return random_text(shape.characters * steps + shape.batch)


def as_string(text: Corpus, characters: int | None = None) -> str:
    """Return the first characters of a text; all when not given."""
    return text.vocabulary.decode(np.asarray(text.ids[:characters]))


def batches_of(text: Corpus, shape: Shape) -> list[Batch]:
    """Return the batches of a text, in memory."""
    return list(create_dataloaders(CharDataset(text, shape.length, 1.0, 0.0), shape.batch)["train"].epoch(0))


class BareLoop:
    """Plain PyTorch: embedding, recurrent module, output, cross-entropy, AdamW, clipping, carried state."""

    def __init__(
        self, shape: Shape, symbols: int = VOCABULARY, learning_rate: float = 1e-3, device: torch.device | str = "cpu"
    ) -> None:
        width = shape.embedding or symbols
        self.embedding, self.output = (
            nn.Embedding(symbols, width).to(device),
            nn.Linear(shape.hidden, symbols).to(device),
        )
        self.cell = MODULES[shape.cell](width, shape.hidden, shape.layers, batch_first=True).to(device)
        self.parameters = [*self.embedding.parameters(), *self.cell.parameters(), *self.output.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=1e-5, fused=True)
        self.state: Any = None

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on a batch of x and y, (B, T) each; return the loss in nats per character."""
        out, state = self.cell(self.embedding(x), self.state)
        loss = nn.functional.cross_entropy(self.output(out).flatten(0, 1), y.flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()
        self.state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return loss

    def epoch(self, batches: Sequence[Batch]) -> None:
        """Train once on the batches, from a zero state."""
        self.state = None
        for x, y in batches:
            self.step(x, y)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters under the names of this package's models."""
        parts = {"embedding": self.embedding, type(self.cell).__name__.lower(): self.cell, "output_proj": self.output}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
