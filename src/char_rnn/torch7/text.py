"""The caches of the 2015 program: ``vocab.t7`` and ``data.t7``, which it makes beside ``input.txt``.

``vocab.t7`` is a table, index from 1 by byte; ``data.t7`` a vector of bytes, the text's indices. It uses them as long
as neither is older than ``input.txt``, and also when ``input.txt`` is gone.


The text as ``CharSplitLMMinibatchLoader`` read it: cut, wrapped round, and split by whole batches.

Dimensions: B batch, T time, N characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.errors import DataError
from char_rnn.data.streams import ALL_ROWS
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.torch7.checkpoints.fields import is_finite, is_virtual, kind
from char_rnn.torch7.t7.reader import load
from char_rnn.torch7.t7.values import T7Error, Table

TEXT, VOCABULARY, INDICES = "input.txt", "vocab.t7", "data.t7"


class CachedText(NamedTuple):
    """A text, and the vocabulary in the order of its caches' indices."""

    text: bytes
    vocabulary: Vocabulary


def read_caches(folder: str | Path) -> CachedText | None:
    """Return what the caches in a folder hold.

    Returns:
        The text with its vocabulary; None if ``input.txt`` is to be read: there are no caches, or not both, or it has
        changed since.

    Raises:
        DataError: they are damaged, do not fit each other, or one is missing and ``input.txt`` too.
    """
    folder = Path(folder)
    text, caches = folder / TEXT, [folder / VOCABULARY, folder / INDICES]
    found = [path for path in caches if path.is_file()]
    if text.is_file():
        changed = int(text.stat().st_mtime)  # whole seconds, as train.lua compares them
        if len(found) < 2 or any(int(path.stat().st_mtime) < changed for path in found):
            return None
    if len(found) == 1:
        [missing] = {VOCABULARY, INDICES} - {found[0].name}
        raise DataError(f"{found[0]}: is of no use without {missing} beside it; put {TEXT} there, or {missing}")
    return _decoded(*caches) if found else None


def _decoded(vocabulary: Path, indices: Path) -> CachedText:
    symbols, ids = _symbols(vocabulary), _ids(indices)
    places = ids - np.uint8(1)  # from 0 on; index 256 did not fit in a byte and was stored as 0, which becomes 255
    outside = places >= len(symbols)
    if outside.any():
        first = int(np.argmax(outside))
        raise DataError(
            f"{indices}: index {ids[first]} at position {first}, but {VOCABULARY} numbers its symbols from 1 to "
            f"{len(symbols)}; {_MEND}"
        )
    return CachedText(np.take(symbols, places).tobytes(), Vocabulary("bytes", symbols.tolist()))


_MEND = f"remove {VOCABULARY} and {INDICES}, and the text is read from {TEXT}"


def _symbols(path: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes (V,) in the order of their indices."""
    vocab = _loaded(path)
    if not isinstance(vocab, Table) or not all(
        isinstance(symbol, bytes) and len(symbol) == 1 and is_finite(index) for symbol, index in vocab.items()
    ):
        raise DataError(f"{path}: holds {kind(vocab)}, but not of indices by byte; {_MEND}")
    symbols = sorted(vocab, key=lambda symbol: vocab[symbol])
    if not symbols or [vocab[symbol] for symbol in symbols] != list(range(1, len(symbols) + 1)):
        raise DataError(f"{path}: does not number its symbols from 1 on, each once; {_MEND}")
    return np.frombuffer(b"".join(symbols), np.uint8)


def _ids(path: Path) -> npt.NDArray[np.uint8]:
    """Return the indices (N,) as they are stored."""
    ids = _loaded(path)
    if not isinstance(ids, np.ndarray) or ids.dtype != np.uint8 or ids.ndim != 1 or ids.size == 0 or is_virtual(ids):
        raise DataError(f"{path}: holds {kind(ids)}, not the indices of a text, a vector of bytes; {_MEND}")
    return ids


def _loaded(path: Path) -> object:
    try:
        return load(path)
    except T7Error as error:
        raise DataError(f"{error}; {_MEND}") from None


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
