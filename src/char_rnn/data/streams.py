"""Batches of contiguous streams, for truncated backpropagation through time: the 2015 program's order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from char_rnn.data.errors import DataError
from char_rnn.data.mapped import PageReleaser
from char_rnn.data.splits import Split

ALL_ROWS = slice(None)


class StreamBatches:
    """Reads a split as B streams side by side; a batch goes on where the one before it ended.

    B is the batch size, T the sequence length. Row b of every batch is stream b, T characters further on, so that
    the hidden state can be carried over. A split of P predictable characters gives P // (B T) batches an epoch; the
    `dropped` rest, less than B T characters, is left out at the end by even epochs and at the beginning by odd ones:
    any two epochs in a row predict every character.

    Args:
        split: The text.
        batch_size: Number of streams.
        seq_length: Characters of a stream in one batch.
        rows: The streams to give, where several processes share a batch; B is the number of these then.
        allow_empty: Accept a split too small for a batch; it has epochs of none.

    Raises:
        DataError: If the split is too small for one batch.
        ValueError: If a size is below 1.
    """

    carries_state = True

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seq_length: int,
        *,
        rows: slice = ALL_ROWS,
        allow_empty: bool = False,
    ) -> None:
        check_sizes(batch_size, seq_length)
        self.split, self.batch_size, self.seq_length, self.rows = split, batch_size, seq_length, rows
        self._steps = split.predicted // (batch_size * seq_length)
        self.dropped = split.predicted - self._steps * batch_size * seq_length
        if self._steps == 0 and not allow_empty:
            raise DataError(
                f"the {split.name} split has {len(split):,} characters; one batch needs "
                f"{batch_size * seq_length + 1:,} (batch_size {batch_size} x seq_length {seq_length} + 1): "
                "give more text, or lower training.batch_size or training.seq_length"
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._steps

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch.

        Args:
            number: Of the epoch, from 0.
            start: Batches to leave out at its beginning, at no cost.

        Yields:
            Characters x and those that follow them y, int64, shape (B, T) each.
        """
        first = self._first_target(number)
        streams = self._streams(first)
        firsts = (np.arange(self.batch_size) * streams.shape[1] + first)[self.rows]
        streams = streams[self.rows]
        pages = PageReleaser(self.split.ids)
        pages.release()
        for step in range(start, self._steps):
            column = step * self.seq_length
            x, y = np.empty((2, len(firsts), self.seq_length), dtype=np.int64)
            y[:] = streams[:, column : column + self.seq_length]
            x[:, 1:] = y[:, :-1]
            x[:, 0] = self._before(firsts + column)
            pages.touched_in_order(y.size * streams.itemsize)
            yield torch.from_numpy(x), torch.from_numpy(y)

    def _before(self, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the characters before some places, shape (B,); before the split stands its context."""
        characters = self.split.ids[places - 1].astype(np.int64)
        if self.split.context is not None:
            characters[places == 0] = self.split.context
        return characters

    def _first_target(self, number: int) -> int:
        """Place in the split of the first character that an epoch predicts."""
        return len(self.split) - self.split.predicted + (self.dropped if number % 2 else 0)

    def _streams(self, first: int) -> npt.NDArray[Any]:
        """View what an epoch predicts as streams, shape (B, steps x T)."""
        length = self._steps * self.seq_length
        return self.split.ids[first : first + self.batch_size * length].reshape(self.batch_size, length)


def check_sizes(batch_size: int, seq_length: int) -> None:
    """Raise ValueError if a size is below 1."""
    for name, size in (("batch_size", batch_size), ("seq_length", seq_length)):
        if size < 1:
            raise ValueError(f"{name} {size}: must be at least 1")
