"""Shuffled windows: every position of a split as a sample of its own, for training without carried state."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from char_rnn.data import DataError
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.mapped import PageReleaser
from char_rnn.data.vocabulary import Vocabulary

ALL_ROWS = slice(None)
PERMUTED_AT_ONCE = 1 << 16
ROUNDS = 6

UInt64s = npt.NDArray[np.uint64]


def permuted(length: int, seed: tuple[int, ...], places: slice = ALL_ROWS) -> npt.NDArray[np.int64]:
    """Return the elements at some places of a random permutation of 0 to length - 1, without a list of all.

    A Feistel network over the next even power of two, applied until the result is in range: a bijection that computes
    any element alone (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The round function is
    SplitMix64's finalizer (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). Shuffling
    10^9 windows takes a few kilobytes, a list of them 8 GB, and starting in the middle costs nothing.

    Args:
        length: Number of elements, 1 to 2^62.
        seed: Numbers, 0 or above; the same ones give the same permutation on every machine.
        places: N places; all by default.

    Returns:
        The elements, shape (N,).
    """
    if not 1 <= length <= 1 << 62:
        raise ValueError(f"permutation length {length}: must be 1 to 2^62")
    half_bits = np.uint64(max(1, ((length - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half_bits)) - 1)
    keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)

    def shuffled(numbers: UInt64s) -> UInt64s:
        left, right = numbers >> half_bits, numbers & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right + key) & mask)
        result: UInt64s = left << half_bits | right
        return result

    numbers = shuffled(np.arange(*places.indices(length), dtype=np.uint64))
    outside = np.flatnonzero(numbers >= length)
    while outside.size:
        numbers[outside] = shuffled(numbers[outside])
        outside = outside[numbers[outside] >= length]
    return numbers.astype(np.int64)


def _mixed(numbers: UInt64s) -> UInt64s:
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    result: UInt64s = numbers ^ numbers >> np.uint64(31)
    return result


class CharDataset(Dataset[tuple[Tensor, Tensor]]):
    """The overlapping windows of one split of a text. T is the sequence length.

    Item i is the characters i to i + T - 1 of the split and the characters that follow each, two int64 tensors of shape
    (T,). A split of N characters has N - T windows, none if it is shorter.

    Args:
        source: A corpus, or a source of `prepare_corpus`: a data set's name, a file, a folder, or `-`.
        seq_length: Characters in a window.
        train_frac: Fraction of the text to train on.
        val_frac: Fraction to validate on; the rest is the test split.
        split: `train`, `val`, `test` or `all`.
        vocabulary: `"characters"`, `"bytes"`, or a vocabulary; unused for a corpus.
        encoding: Encoding of the text; unused for a corpus.
        cache_dir: Folder of prepared texts.

    Attributes:
        corpus: The text.
        split: The part of it that the windows are from.
        seq_length: Characters in a window.

    Raises:
        DataError: The text cannot be found or read, or the fractions are invalid.
        ValueError: The sequence length is below 1.
    """

    def __init__(
        self,
        source: str | Path | Corpus,
        seq_length: int,
        train_frac: float = 0.95,
        val_frac: float = 0.05,
        *,
        split: str = "train",
        vocabulary: str | Vocabulary = "characters",
        encoding: str = "utf-8",
        cache_dir: str | Path | None = None,
    ) -> None:
        check_sizes(1, seq_length)
        if not isinstance(source, Corpus):
            source = prepare_corpus(source, vocabulary=vocabulary, encoding=encoding, cache_dir=cache_dir)
        self.corpus, self.seq_length, self._fractions = source, seq_length, (train_frac, val_frac)
        self._set_split(split)

    def with_split(self, name: str) -> "CharDataset":
        """Return a dataset of another split of the same corpus."""
        return CharDataset(self.corpus, self.seq_length, *self._fractions, split=name)

    @property
    def vocab_size(self) -> int:
        """Number of symbols in the vocabulary."""
        return self.corpus.vocabulary.size

    @property
    def chars(self) -> list[str]:
        """The characters in the order of their indices."""
        return list(self.char_to_idx)

    @property
    def char_to_idx(self) -> dict[str, int]:
        """Index of each character."""
        return self.corpus.vocabulary.char_to_idx

    @property
    def idx_to_char(self) -> dict[int, str]:
        """Character of each index."""
        return self.corpus.vocabulary.idx_to_char

    def __len__(self) -> int:
        return max(0, len(self.split) - self.seq_length)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index}: there are {len(self)} windows")
        x, y = self.windows([index % len(self)])
        return x[0], y[0]

    def windows(self, starts: Sequence[int] | npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return several windows.

        Args:
            starts: Their B indices.

        Returns:
            Characters x and the characters that follow them y, int64, shape (B, T) each.
        """
        places = np.asarray(starts, dtype=np.int64)[:, None] + np.arange(self.seq_length + 1)
        block = torch.from_numpy(self.split.ids[places].astype(np.int64))
        self._pages.touched(len(places), self.seq_length)
        return block[:, :-1].contiguous(), block[:, 1:].contiguous()

    def __getstate__(self) -> dict[str, object]:
        kept = ("corpus", "seq_length", "_fractions")
        return {**{name: self.__dict__[name] for name in kept}, "split": self.split.name}

    def __setstate__(self, state: dict[str, object]) -> None:
        name = str(state.pop("split"))
        self.__dict__.update(state)
        self._set_split(name)

    def _set_split(self, name: str) -> None:
        self.split = self.corpus.split(name, *self._fractions)
        self._pages = PageReleaser(self.split.ids)


class WindowBatches:
    """Shuffled batches of a dataset's windows, loaded by a `DataLoader`.

    The order is random (`permuted`), another one in each epoch, so memory does not grow with the text. Batches of the
    training split are all full: the last windows of an epoch that do not fill a batch are left out, other windows each
    time, and nearly all their characters are in other windows. `dropped` counts what no epoch predicts: the first
    character of a split with context.

    Args:
        dataset: The windows.
        batch_size: Windows in a batch.
        num_workers: Processes that load them; 0 for none.
        seed: Seed of the order, together with the epoch's number.
        pin_memory: Load into pinned memory if CUDA is available.
        rows: Windows of each batch to return if several processes share it; B is their number then.
        allow_empty: Accept a split too small for a batch; its epochs are empty.

    Raises:
        DataError: The split is too small for one batch.
        ValueError: The batch size is below 1, or the seed or the number of workers below 0.
    """

    carries_state = False

    def __init__(
        self,
        dataset: CharDataset,
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        pin_memory: bool = False,
        *,
        rows: slice = ALL_ROWS,
        allow_empty: bool = False,
    ) -> None:
        check_sizes(batch_size, dataset.seq_length)
        for name, value in (("seed", seed), ("num_workers", num_workers)):
            if value < 0:
                raise ValueError(f"{name} {value}: must be at least 0")
        self.dataset, self.split = dataset, dataset.split
        self.batch_size, self.seq_length, self.rows = batch_size, dataset.seq_length, rows
        self.num_workers, self.seed, self.pin_memory = num_workers, seed, pin_memory
        self.dropped = min(self.split.predicted, int(self.split.context is not None))
        full = self.split.name == "train"
        self._steps = len(dataset) // batch_size if full else -(-len(dataset) // batch_size)
        if self._steps == 0 and not allow_empty:
            needed = (batch_size if full else 1) + dataset.seq_length
            raise DataError(
                f"the {self.split.name} split has {len(self.split):,} characters; one batch of windows needs "
                f"{needed:,} (batch_size {batch_size} + seq_length {dataset.seq_length}): "
                "give more text, or lower training.batch_size or training.seq_length"
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._steps

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch; see `char_rnn.data.dataloader.Batches.epoch`."""
        yield from DataLoader(
            _WholeBatches(self.dataset),
            batch_size=None,
            sampler=self._order(number, start),
            num_workers=self.num_workers,
            pin_memory=self.pin_memory and torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),  # else PyTorch's own generator would advance
        )

    def _order(self, number: int, start: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the indices of the windows in this process's rows of each batch."""
        size, at_once = self.batch_size, max(1, PERMUTED_AT_ONCE // self.batch_size)
        for first in range(start, self._steps, at_once):
            last = min(first + at_once, self._steps)
            block = permuted(len(self.dataset), (self.seed, number), slice(first * size, last * size))
            yield from (block[at : at + size][self.rows] for at in range(0, len(block), size))


class _WholeBatches(Dataset[tuple[Tensor, Tensor]]):
    """Returns a batch for an array of window indices, which is much faster than collating single windows."""

    def __init__(self, dataset: CharDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, starts: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return self._dataset.windows(starts)


def check_sizes(batch_size: int, seq_length: int) -> None:
    """Raise ValueError if a size is below 1."""
    for name, size in (("batch_size", batch_size), ("seq_length", seq_length)):
        if size < 1:
            raise ValueError(f"{name} {size}: must be at least 1")
