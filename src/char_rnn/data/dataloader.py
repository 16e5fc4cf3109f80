"""Batches for training: contiguous streams with carried state (the default), or shuffled windows."""

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from char_rnn.data import DataError
from char_rnn.data.corpus import SPLITS, Split
from char_rnn.data.mapped import BlockReader, PageReleaser
from char_rnn.data.windows import ALL_ROWS, CharDataset, WindowBatches, check_sizes

__all__ = ["Batches", "CharDataset", "StreamBatches", "WindowBatches", "create_dataloaders"]


class Batches(Protocol):
    """The batches of one split. B is the batch size, T the sequence length.

    Attributes:
        split: The text.
        batch_size: Sequences in a batch, over all processes that share it.
        rows: The sequences that this process gets.
        seq_length: Characters in a sequence.
        carries_state: Whether each row continues the same row of the last batch, so that the hidden state carries over.
        dropped: Predictable characters that an epoch does not predict.
    """

    split: Split
    batch_size: int
    rows: slice
    seq_length: int
    carries_state: bool
    dropped: int

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield characters x and the characters that follow them y, int64, shape (B, T) each.

        The same number gives the same batches; `start` skips batches at the beginning, at no cost.
        """
        ...


class StreamBatches:
    """Reads a split as B streams side by side; each batch continues where the last one ended.

    B is the batch size, T the sequence length. Row b of every batch is stream b, T characters further on, so that the
    hidden state can be carried over. A split of P predictable characters has P // (B T) batches in an epoch. The
    `dropped` rest, less than B T characters, is at the end in even epochs and at the beginning in odd ones: any two
    consecutive epochs predict every character.

    Args:
        split: The text.
        batch_size: Number of streams.
        seq_length: T.
        rows: The streams to return if several processes share a batch; B is their number then.
        allow_empty: Accept a split too small for a batch; its epochs are empty.

    Raises:
        DataError: The split is too small for one batch.
        ValueError: A size is below 1.
    """

    carries_state = True

    def __init__(
        self, split: Split, batch_size: int, seq_length: int, *, rows: slice = ALL_ROWS, allow_empty: bool = False
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
        """Batches in an epoch."""
        return self._steps

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch; see `Batches.epoch`."""
        befores = self._befores(number)
        reader, pages = BlockReader(self.split.ids), PageReleaser(self.split.ids)
        pages.release()
        for step in range(start, self._steps):
            starts = befores + step * self.seq_length
            block = reader.read(starts, self.seq_length + 1).astype(np.int64)
            if self.split.context is not None:
                block[starts < 0, 0] = self.split.context
            pages.touched_in_order(block.size * self.split.ids.itemsize)
            yield torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy())

    def history(self, number: int, size: int) -> Tensor:
        """Return the `size` symbols before each stream of an epoch, (B, size): ids + 1, and 0 before the text."""
        return torch.from_numpy(self.split.history(self._befores(number) + (self.split.context is not None), size))

    def _befores(self, number: int) -> np.ndarray:
        """Return the places of the first inputs of an epoch's streams; -1 is the symbol before the split."""
        length = self._steps * self.seq_length  # of a stream
        first_target = len(self.split) - self.split.predicted + (self.dropped if number % 2 else 0)
        return (np.arange(self.batch_size) * length + first_target - 1)[self.rows]


def create_dataloaders(
    dataset: CharDataset,
    batch_size: int,
    num_workers: int = 0,
    *,
    batching: Literal["streams", "windows"] | str = "streams",
    seed: int = 0,
    pin_memory: bool = False,
    rows: slice = ALL_ROWS,
) -> dict[str, Batches]:
    """Make the batches of the `train`, `val` and `test` splits, without empty splits.

    Args:
        dataset: Dataset of any split of the corpus, whose sequence length and fractions are used.
        batch_size: Sequences in a batch.
        num_workers: Processes that load windows; streams need none.
        batching: `"streams"` (contiguous, state carried over) or `"windows"` (overlapping, shuffled).
        seed: Seed of the order of windows.
        pin_memory: Load windows into pinned memory if CUDA is available.
        rows: Sequences of each batch to return if several processes share it.

    Raises:
        DataError: The training split is too small for one batch. (Others may be: they are evaluated whole.)
        ValueError: A number is out of range, or `batching` is neither.
    """
    if batching not in ("streams", "windows"):
        raise ValueError(f"batching {batching!r}: must be streams or windows")
    loaders: dict[str, Batches] = {}
    for name in SPLITS:
        part = dataset.with_split(name)
        allow_empty = name != "train"
        if allow_empty and not len(part.split):
            continue
        if batching == "streams":
            loaders[name] = StreamBatches(part.split, batch_size, part.seq_length, rows=rows, allow_empty=allow_empty)
        else:
            loaders[name] = WindowBatches(
                part, batch_size, num_workers, seed, pin_memory, rows=rows, allow_empty=allow_empty
            )
    return loaders
