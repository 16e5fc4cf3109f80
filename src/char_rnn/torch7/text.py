"""The text as ``CharSplitLMMinibatchLoader`` read it: cut, wrapped round, and split by whole batches.

Dimensions: B batch, T time, N characters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.errors import DataError
from char_rnn.data.streams import ALL_ROWS


class Text:
    """The batches of a corpus.

    Its N characters are cut to a multiple of B T and laid out as B rows; a batch is T columns of all rows. What follows
    the last character is the first. The first batches are for training, the next for validation, the rest for tests:
    by then every split holds a piece of every row.

    Args:
        corpus: The text.
        batch_size: B.
        seq_length: T.
        train_frac: Share of the batches to train on.
        val_frac: Share of the batches for validation; together with `train_frac` exactly 1, it takes all the rest.

    Attributes:
        batches: How many each split has: train, val, test.

    Raises:
        DataError: There is not one batch to train on.
    """

    def __init__(self, corpus: Corpus, batch_size: int, seq_length: int, train_frac: float, val_frac: float) -> None:
        self.batch_size, self.seq_length = batch_size, seq_length
        characters = len(corpus.ids)
        count = characters // (batch_size * seq_length)
        self.batches = split_batches(count, train_frac, val_frac)
        if not self.batches["train"]:
            raise DataError(
                f"the text has {characters:,} characters, {count} batches of {batch_size} x {seq_length}, and none of "
                "them to train on: give more text, or lower training.batch_size or training.seq_length"
            )
        used = count * batch_size * seq_length
        self._ids = corpus.ids[:used]
        self._rows = self._ids.reshape(batch_size, count * seq_length)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return batch ``number``, counted over all splits: ids x and those that follow them y, int64 (B, T)."""
        first = number * self.seq_length
        x = self._rows[:, first : first + self.seq_length].astype(np.int64)
        y = np.empty_like(x)
        y[:, :-1] = x[:, 1:]
        starts = np.arange(self.batch_size) * self._rows.shape[1]
        y[:, -1] = self._ids[(starts + first + self.seq_length) % len(self._ids)]
        return torch.from_numpy(x), torch.from_numpy(y)


class SplitBatches:
    """The batches of one split, the same in every epoch; the state is carried from the last on to the first."""

    carries_state = True
    rows = ALL_ROWS

    def __init__(self, text: Text, corpus: Corpus, name: str) -> None:
        counts = list(text.batches.values())
        place = list(text.batches).index(name)
        self.batch_size, self.seq_length = text.batch_size, text.seq_length
        self.split = corpus.split("all")
        self._text, self._first, self._count = text, sum(counts[:place]), counts[place]
        self.dropped = self.split.predicted - sum(counts) * self.batch_size * self.seq_length

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._count

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ids x and those that follow them y, int64 (B, T) each, from batch ``start`` of the split on."""
        return map(self._text.batch, range(self._first + start, self._first + self._count))


def split_batches(count: int, train_frac: float, val_frac: float) -> dict[str, int]:
    """Share out batches as the 2015 program does, in its floating-point arithmetic (0.95 of 130 is 123)."""
    train = int(count * train_frac)
    if max(0.0, 1.0 - (train_frac + val_frac)) == 0:
        return {"train": train, "val": count - train, "test": 0}
    val = int(count * val_frac)
    return {"train": train, "val": val, "test": count - train - val}


def split_text(
    corpus: Corpus, batch_size: int, seq_length: int, train_frac: float, val_frac: float
) -> dict[str, Batches]:
    """Return the batches of the splits that are not empty; see :class:`Text`."""
    text = Text(corpus, batch_size, seq_length, train_frac, val_frac)
    return {name: SplitBatches(text, corpus, name) for name, count in text.batches.items() if count}
