"""Models of which it is known what they write."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models import CharLSTM

VOCABULARY = Vocabulary.from_text("abcd\n")


FULL_BYTES = Vocabulary("bytes", range(256))


class Table(nn.Module):
    """A bigram model: row i of ``logits`` (V, V) predicts what follows symbol i. Its state counts symbols seen."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.vocab_size = len(logits)
        self.seen: list[list[int]] = []
        self.modes: list[bool] = []

    def init_hidden(self, batch_size: int, device: torch.device | str | None = None) -> Tensor:
        self.seen = []
        return torch.zeros(1, batch_size, 1)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        assert torch.is_inference_mode_enabled()
        assert int(hidden) == sum(len(row) for row in self.seen)
        self.seen.append(x[0].tolist())
        self.modes.append(self.training)
        return torch.log_softmax(self.logits[x], dim=-1), hidden + x.shape[1]


def table(logits: Tensor) -> Any:
    return Table(logits)


def uniform(vocabulary: Vocabulary = VOCABULARY) -> Any:
    return table(torch.zeros(vocabulary.size, vocabulary.size))


def cycle(vocabulary: Vocabulary = VOCABULARY) -> Any:
    """Predicts, almost surely, the next symbol of the vocabulary."""
    return table(torch.eye(vocabulary.size).roll(1, dims=1) * 100)


def lstm(vocabulary: Vocabulary = VOCABULARY, dropout: float = 0.0) -> CharLSTM:
    torch.manual_seed(1)
    return CharLSTM(vocabulary.size, 16, 2, dropout, initialization="uniform")
