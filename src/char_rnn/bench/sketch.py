"""The specification's sketch, taken to the letter, to be measured beside what it became.

Its parts are written here as they were asked for, with what they cost: the text as a list of numbers, every overlapping
window a sample, so that an epoch reads the text ``seq_length`` times; a state of zeros for every batch; ``DataLoader``
with four workers; and one character at a time through PyTorch's modules when writing, of a prime its last character
alone. One thing had to be mended for it to run at all: three loaders share one data set with one current split, which
is the last that was set, and with its fractions that is an empty one of negative length. Here whoever reads sets the
split first. `docs/specification.md` has the whole list.

Dimensions:
    B: sequences in a batch, T: their steps, V: vocabulary.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from char_rnn.bench.training_sides import MODULES, Shape

WORKERS = 4


class SketchModel(nn.Module):
    """An embedding as large as the vocabulary, PyTorch's module with all its layers, an output and its logarithms."""

    def __init__(self, symbols: int, shape: Shape) -> None:
        super().__init__()
        self.symbols, self.name = symbols, shape.cell
        self.embedding = nn.Embedding(symbols, symbols)
        self.add_module(shape.cell, MODULES[shape.cell](symbols, shape.hidden, shape.layers, batch_first=True))
        self.output_proj = nn.Linear(shape.hidden, symbols)

    def forward(self, x: Tensor, hidden: Any = None) -> tuple[Tensor, Any]:
        """Return log-probabilities (B, T, V) of what follows each symbol of x (B, T), and the new state."""
        out, hidden = self.get_submodule(self.name)(self.embedding(x), hidden)
        return torch.log_softmax(self.output_proj(out), -1), hidden

    def init_hidden(self, batch: int) -> Any:
        """Return a state of zeros."""
        cell: Any = self.get_submodule(self.name)
        zeros = torch.zeros(cell.num_layers, batch, cell.hidden_size)
        return (zeros, zeros.clone()) if self.name == "lstm" else zeros


class SketchDataset(Dataset[tuple[Tensor, Tensor]]):
    """A text as a list of numbers, in three splits of which one is current."""

    def __init__(self, text: str, length: int, train_frac: float = 0.95, val_frac: float = 0.05) -> None:
        characters = sorted(set(text))
        self.char_to_idx = {character: index for index, character in enumerate(characters)}
        self.idx_to_char = dict(enumerate(characters))
        data = [self.char_to_idx[character] for character in text]
        train, val = int(len(data) * train_frac), int(len(data) * val_frac)
        self.splits = {"train": data[:train], "val": data[train : train + val], "test": data[train + val :]}
        self.length, self.current = length, "train"

    def set_split(self, split: str) -> None:
        """Change the split, for every loader of this data set."""
        self.current = split

    def __len__(self) -> int:
        return len(self.splits[self.current]) - self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        data = self.splits[self.current]
        return (
            torch.tensor(data[index : index + self.length], dtype=torch.long),
            torch.tensor(data[index + 1 : index + self.length + 1], dtype=torch.long),
        )


class Sketch:
    """Trains a model on a text as the sketch's trainer does, step after step.

    Args:
        text: what is trained on.
        shape: the model and its batches.
        writer: TensorBoard's, for the loss of every tenth step; none is written without it.
        learning_rate: AdamW's.
        workers: processes that make batches; four when not given.
    """

    def __init__(
        self,
        text: str,
        shape: Shape,
        writer: Any = None,
        learning_rate: float = 2e-3,
        workers: int | None = None,
    ) -> None:
        self.dataset, self.writer = SketchDataset(text, shape.length), writer
        self.model = SketchModel(len(self.dataset.char_to_idx), shape)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=learning_rate, weight_decay=1e-5)
        self.criterion = nn.NLLLoss()
        self.steps = 0
        self.dataset.set_split("train")
        self._batches = self._endless(shape.batch, WORKERS if workers is None else workers)

    def _endless(self, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pinned memory without a device, and of more workers than cores
            loader = DataLoader(self.dataset, batch, shuffle=True, num_workers=workers, pin_memory=True, drop_last=True)
            batches = iter(loader)
        while True:
            yield from batches
            batches = iter(loader)

    def train(self, steps: int) -> None:
        """Take so many steps."""
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
        """End the workers."""
        self._batches = iter(())


def generate(model: SketchModel, dataset: SketchDataset, prime: str, length: int, temperature: float = 1.0) -> str:
    """Write a text: of the prime the model reads the last character alone."""
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
