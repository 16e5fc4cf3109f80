"""Learned vectors for the symbols that followed matches (see :mod:`char_rnn.ops.matching`).

Dimensions: B batch, T time, W window, V vocabulary, E length of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from char_rnn.models.dropout import drop_matches
from char_rnn.ops import find_matches


class Matches(nn.ModuleList):
    """A table of 1 + V vectors for each match length; the first is for no match.

    They are drawn shorter than the vectors of the symbols: with a standard deviation of 1 instead of 0.3, they hide the
    symbol at first, and a model of 128 units was 0.023 nats worse after 2,500 steps.

    Args:
        lengths: Lengths n of matches, from 1 to `window`.
        window: W, number of previous symbols searched for matches.
        vocab_size: V.
        size: E.
        dropout: Probability that a sequence of a batch has no matches in training.
    """

    def __init__(self, lengths: Sequence[int], window: int, vocab_size: int, size: int, dropout: float) -> None:
        super().__init__(nn.Embedding(1 + vocab_size, size) for _ in lengths)
        self.lengths, self.window, self.dropout = tuple(lengths), window, dropout
        for vectors in self.parameters():
            nn.init.normal_(vectors, std=0.3)

    def forward(self, ids: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the vectors of the matches, (B, T, E), and the symbols before the next step, (B, W).

        `ids` are (B, T), and `history` is that of :func:`char_rnn.ops.find_matches`, (B, W).
        """
        found, history = find_matches(ids, history, self.lengths)
        found = drop_matches(found, self.dropout if self.training else 0.0)
        # Time-major in memory and viewed batch-first, as the vectors of the symbols are.
        vectors = [table(match.t()) for table, match in zip(self, found, strict=True)]
        return sum(vectors[1:], vectors[0]).transpose(0, 1), history

    def extra_repr(self) -> str:
        """Describe the vectors in ``print(model)``."""
        return f"lengths={self.lengths}, window={self.window}"
