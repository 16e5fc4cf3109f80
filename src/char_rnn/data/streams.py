"""Batches of contiguous streams, for truncated backpropagation through time: the 2015 program's order."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from char_rnn.data.corpus import Split
from char_rnn.data.errors import DataError
from char_rnn.data.mapped import BlockReader, PageReleaser

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
        seq_length: T, characters of a stream in one batch.
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
        length = self._steps * self.seq_length  # of a stream
        befores = (np.arange(self.batch_size) * length + self._first_target(number) - 1)[self.rows]
        reader, pages = BlockReader(self.split.ids), PageReleaser(self.split.ids)
        pages.release()
        for step in range(start, self._steps):
            starts = befores + step * self.seq_length
            block = reader.read(starts, self.seq_length + 1).astype(np.int64)
            if self.split.context is not None:
                block[starts < 0, 0] = self.split.context
            pages.touched_in_order(block.size * self.split.ids.itemsize)
            yield torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy())

    def _first_target(self, number: int) -> int:
        """Place in the split of the first character that an epoch predicts."""
        return len(self.split) - self.split.predicted + (self.dropped if number % 2 else 0)


def check_sizes(batch_size: int, seq_length: int) -> None:
    """Raise ValueError if a size is below 1."""
    for name, size in (("batch_size", batch_size), ("seq_length", seq_length)):
        if size < 1:
            raise ValueError(f"{name} {size}: must be at least 1")
