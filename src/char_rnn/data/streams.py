"""Batches of contiguous streams, for truncated backpropagation through time: the 2015 program's order."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from char_rnn.data.corpus import Split
from char_rnn.data.errors import DataError
from char_rnn.data.mapped import BlockReader, PageReleaser

ALL_ROWS = slice(None)

WHOLE, DEVIATION, SHORTEST = 0.95, 5.0, 5
TINY = 1e-3  # above the shortest, so that the lengths can be scaled even if all are the shortest


class StreamBatches:
    """Reads a split as B streams side by side; a batch goes on where the one before it ended.

    B is the batch size, T the sequence length. Row b of every batch is stream b, T characters further on, so that
    the hidden state can be carried over. A split of P predictable characters gives P // (B T) batches an epoch; the
    `dropped` rest, less than B T characters, is left out at the end by even epochs and at the beginning by odd ones:
    any two epochs in a row predict every character.

    With a `segments_seed` the T characters are an average: each epoch is cut into as many segments as else, of random
    lengths (see `random_cuts`).

    Args:
        split: The text.
        batch_size: Number of streams.
        seq_length: T, characters of a stream in one batch.
        segments_seed: Chooses the lengths of an epoch's segments, with its number; None for T characters in each.
        rows: The streams to give, where several processes share a batch; B is the number of these then.
        allow_empty: Accept a split too small for a batch; it has epochs of none.

    Raises:
        DataError: If the split is too small for one batch.
        ValueError: If a size is below 1, or the seed below 0.
    """

    carries_state = True

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seq_length: int,
        *,
        segments_seed: int | None = None,
        rows: slice = ALL_ROWS,
        allow_empty: bool = False,
    ) -> None:
        check_sizes(batch_size, seq_length)
        if segments_seed is not None and segments_seed < 0:
            raise ValueError(f"segments_seed {segments_seed}: must be at least 0")
        self._segments_seed = segments_seed
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
        cuts = self._cuts(number)
        length = self._steps * self.seq_length  # of a stream
        befores = (np.arange(self.batch_size) * length + self._first_target(number) - 1)[self.rows]
        reader, pages = BlockReader(self.split.ids), PageReleaser(self.split.ids)
        pages.release()
        for step in range(start, self._steps):
            starts = befores + cuts[step]
            block = reader.read(starts, int(cuts[step + 1] - cuts[step]) + 1).astype(np.int64)
            if self.split.context is not None:
                block[starts < 0, 0] = self.split.context
            pages.touched_in_order(block.size * self.split.ids.itemsize)
            yield torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy())

    def _cuts(self, number: int) -> range | npt.NDArray[np.int64]:
        """Places in a stream at which the segments of an epoch begin, and the last ends."""
        if self._segments_seed is None:
            return range(0, self._steps * self.seq_length + 1, self.seq_length)
        return random_cuts(self._steps, self.seq_length, (self._segments_seed, number))

    def _first_target(self, number: int) -> int:
        """Place in the split of the first character that an epoch predicts."""
        return len(self.split) - self.split.predicted + (self.dropped if number % 2 else 0)


def random_cuts(count: int, seq_length: int, seed: Sequence[int]) -> npt.NDArray[np.int64]:
    """Cut a stream of count x seq_length characters into `count` segments of random lengths.

    As for AWD-LSTM (Merity, Keskar and Socher 2018, arXiv 1708.02182, section 4.1): a length is drawn from a normal
    distribution of standard deviation 5 around seq_length, with probability 0.05 around its half, and is at least 5.
    What each has above these 5 is then scaled so that all add up, by a few percent: the mean of what is drawn is a
    little less than seq_length. Where that is 5 or less, all are as long.

    Args:
        count: Segments.
        seq_length: Their mean length.
        seed: Numbers, 0 or above, that choose the lengths.

    Returns:
        The places at which they begin, in order, and the stream's end, shape (count + 1,).
    """
    generator, shortest = np.random.default_rng(seed), min(SHORTEST, seq_length)
    centres = np.where(generator.random(count) < WHOLE, seq_length, seq_length / 2)
    above = np.maximum(generator.normal(centres, DEVIATION) - shortest, TINY)
    ends = np.concatenate([[0.0], np.cumsum(above)])
    scale = count * (seq_length - shortest) / max(ends[-1], TINY)
    cuts: npt.NDArray[np.int64] = np.arange(count + 1) * shortest + np.rint(scale * ends).astype(np.int64)
    return cuts


def check_sizes(batch_size: int, seq_length: int) -> None:
    """Raise ValueError if a size is below 1."""
    for name, size in (("batch_size", batch_size), ("seq_length", seq_length)):
        if size < 1:
            raise ValueError(f"{name} {size}: must be at least 1")
