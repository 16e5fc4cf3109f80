"""What the package is compared with: the bare PyTorch loop, and the specification's sketch.

The sketch is the specification taken to the letter: the text as a list of numbers; every overlapping window a sample,
so that an epoch reads the text ``seq_length`` times; a zero state for every batch; a ``DataLoader`` with four workers;
and, when writing, only the last character of the prime. One fault had to be fixed for it to run: its three loaders
share one data set with one current split, whose last value is an empty split of negative length. Here the reader sets
the split first. `docs/specification.md` has the whole list.

Dimensions:
    B: sequences in a batch, T: their steps, V: vocabulary.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.utils.config import Config

MODULES: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
VOCABULARY = 65
WORKERS = 4
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """A model and its batches.

    Attributes:
        cell: ``lstm``, ``gru`` or ``rnn``.
        hidden: Units of a layer.
        layers: Number of layers.
        batch: Sequences in a batch, B.
        length: Characters in a sequence, T.
        embedding: Embedding size; None for the size of the vocabulary.
    """

    cell: str = "lstm"
    hidden: int = 128
    layers: int = 2
    batch: int = 50
    length: int = 50
    embedding: int | None = None

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
        "logging": {"save_interval": 10**9, "log_interval": 10},
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
    """Plain PyTorch: embedding, recurrent module, output, cross-entropy, AdamW, clipping, carried state.

    Args:
        shape: The model and its batches.
        symbols: Vocabulary size, V.
        learning_rate: Constant learning rate.
    """

    def __init__(self, shape: Shape, symbols: int = VOCABULARY, learning_rate: float = 1e-3) -> None:
        width = shape.embedding or symbols
        self.embedding, self.output = nn.Embedding(symbols, width), nn.Linear(shape.hidden, symbols)
        self.cell = MODULES[shape.cell](width, shape.hidden, shape.layers, batch_first=True)
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


class SketchModel(nn.Module):
    """Embedding of the vocabulary's size, PyTorch's recurrent module, output and log-softmax."""

    def __init__(self, symbols: int, shape: Shape) -> None:
        super().__init__()
        self.symbols, self.name = symbols, shape.cell
        self.embedding = nn.Embedding(symbols, symbols)
        self.add_module(shape.cell, MODULES[shape.cell](symbols, shape.hidden, shape.layers, batch_first=True))
        self.output_proj = nn.Linear(shape.hidden, symbols)

    def forward(self, x: Tensor, hidden: Any = None) -> tuple[Tensor, Any]:
        """Return log-probabilities (B, T, V) of the symbol after each of x (B, T), and the new state."""
        out, hidden = self.get_submodule(self.name)(self.embedding(x), hidden)
        return torch.log_softmax(self.output_proj(out), -1), hidden

    def init_hidden(self, batch: int) -> Any:
        """Return a zero state."""
        cell: Any = self.get_submodule(self.name)
        zeros = torch.zeros(cell.num_layers, batch, cell.hidden_size)
        return (zeros, zeros.clone()) if self.name == "lstm" else zeros


class SketchDataset(Dataset[tuple[Tensor, Tensor]]):
    """A text as lists of numbers in three splits, one of them current for every loader."""

    def __init__(self, text: str, length: int, train_frac: float = 0.95, val_frac: float = 0.05) -> None:
        self.idx_to_char = dict(enumerate(sorted(set(text))))
        self.char_to_idx = {character: index for index, character in self.idx_to_char.items()}
        data = [self.char_to_idx[character] for character in text]
        train, val = int(len(data) * train_frac), int(len(data) * val_frac)
        self.splits = {"train": data[:train], "val": data[train : train + val], "test": data[train + val :]}
        self.length, self.current = length, "train"

    def __len__(self) -> int:
        return len(self.splits[self.current]) - self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        window = self.splits[self.current][index : index + self.length + 1]
        return torch.tensor(window[:-1], dtype=torch.long), torch.tensor(window[1:], dtype=torch.long)


class Sketch:
    """Trains a model as the sketch's trainer does.

    Args:
        text: Text to train on.
        shape: The model and its batches.
        writer: TensorBoard writer for the loss of every tenth step, or None.
        learning_rate: Learning rate of AdamW.
        workers: Processes that load batches.
    """

    def __init__(
        self, text: str, shape: Shape, writer: Any = None, learning_rate: float = 2e-3, workers: int = WORKERS
    ) -> None:
        self.dataset, self.writer = SketchDataset(text, shape.length), writer
        self.model = SketchModel(len(self.dataset.char_to_idx), shape)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=learning_rate, weight_decay=1e-5)
        self.criterion = nn.NLLLoss()
        self.steps = 0
        self._batches = self._endless(shape.batch, workers)

    def _endless(self, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        options = {"shuffle": True, "num_workers": workers, "pin_memory": True, "drop_last": True}
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pinned memory without a device; more workers than cores
                batches = iter(DataLoader(self.dataset, batch, **options))  # type: ignore[arg-type]
            yield from batches

    def train(self, steps: int) -> None:
        """Train for some steps."""
        self.model.train()
        for _ in range(steps):
            x, y = next(self._batches)
            hidden = self.model.init_hidden(len(x))
            self.optimizer.zero_grad()
            output, hidden = self.model(x, hidden)
            loss = self.criterion(output.view(-1, self.model.symbols), y.view(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
            value = loss.item()
            if self.writer is not None and self.steps % 10 == 0:
                self.writer.add_scalar("Train/Loss", value, self.steps)
            self.steps += 1

    def close(self) -> None:
        """Stop the workers."""
        self._batches = iter(())


def generate(model: SketchModel, dataset: SketchDataset, prime: str, length: int, temperature: float = 1.0) -> str:
    """Generate a text; the model reads only the last character of the prime."""
    model.eval()
    hidden, text = model.init_hidden(1), prime
    character = prime[-1] if prime else random.choice(list(dataset.char_to_idx))
    with torch.no_grad():
        for _ in range(length):
            x = torch.tensor([[dataset.char_to_idx[character]]])
            output, hidden = model(x, hidden)
            probabilities = torch.softmax(output.squeeze(0).squeeze(0) / temperature, dim=-1)
            character = dataset.idx_to_char[int(torch.multinomial(probabilities, 1).item())]
            text += character
    return text
