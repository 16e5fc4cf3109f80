"""The text of a 2015 run: its caches ``vocab.t7`` and ``data.t7``, and its splits and batches.

``train.lua`` makes the caches beside ``input.txt``: ``vocab.t7`` is a table, index from 1 by byte; ``data.t7`` a vector
of bytes, the text's indices. It uses them if neither is older than ``input.txt``, or if there is no ``input.txt``.

Dimensions: B batch, T time, N characters, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from char_rnn.data import DataError
from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import Batches
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.data.windows import ALL_ROWS
from char_rnn.torch7.checkpoints.fields import is_finite, is_virtual, kind
from char_rnn.torch7.t7.reader import load
from char_rnn.torch7.t7.values import T7Error, Table

TEXT, VOCABULARY, INDICES = "input.txt", "vocab.t7", "data.t7"
_ADVICE = f"remove {VOCABULARY} and {INDICES}, then the text is read from {TEXT}"


class CachedText(NamedTuple):
    """A text, and its vocabulary in the order of the caches' indices."""

    text: bytes
    vocabulary: Vocabulary


def read_caches(folder: str | Path) -> CachedText | None:
    """Read the caches in a folder.

    Returns:
        The text with its vocabulary; None to read ``input.txt``: a cache is missing, or ``input.txt`` is newer.

    Raises:
        DataError: The caches are damaged, do not match, or one of them and ``input.txt`` are missing.
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
        raise DataError(f"{found[0]}: cannot be used without {missing}; put {TEXT} or {missing} beside it")
    return _decoded(*caches) if found else None


def _decoded(vocabulary: Path, indices: Path) -> CachedText:
    symbols, ids = _symbols(vocabulary), _ids(indices)
    places = ids - np.uint8(1)  # from 0; index 256 did not fit in a byte and was stored as 0, which becomes 255
    outside = places >= len(symbols)
    if outside.any():
        first = int(np.argmax(outside))
        raise DataError(
            f"{indices}: index {ids[first]} at position {first}, but {VOCABULARY} numbers its symbols from 1 to "
            f"{len(symbols)}; {_ADVICE}"
        )
    return CachedText(np.take(symbols, places).tobytes(), Vocabulary("bytes", symbols.tolist()))


def _symbols(path: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes (V,) in the order of their indices."""
    vocab = _loaded(path)
    if not isinstance(vocab, Table) or not all(
        isinstance(symbol, bytes) and len(symbol) == 1 and is_finite(index) for symbol, index in vocab.items()
    ):
        raise DataError(f"{path}: holds {kind(vocab)}, where train.lua writes a table of indices by byte; {_ADVICE}")
    symbols = sorted(vocab, key=lambda symbol: vocab[symbol])
    if not symbols or [vocab[symbol] for symbol in symbols] != list(range(1, len(symbols) + 1)):
        raise DataError(f"{path}: does not number its symbols from 1, each once; {_ADVICE}")
    return np.frombuffer(b"".join(symbols), np.uint8)


def _ids(path: Path) -> npt.NDArray[np.uint8]:
    """Return the indices (N,) as stored."""
    ids = _loaded(path)
    if not isinstance(ids, np.ndarray) or ids.dtype != np.uint8 or ids.ndim != 1 or ids.size == 0 or is_virtual(ids):
        raise DataError(
            f"{path}: holds {kind(ids)}, where train.lua writes the indices of a text, a vector of bytes; {_ADVICE}"
        )
    return ids


def _loaded(path: Path) -> object:
    try:
        return load(path)
    except T7Error as error:
        raise DataError(f"{error}; {_ADVICE}") from None


class SplitBatches:
    """The batches of one split, the same in every epoch; the state is carried from the last to the first.

    Args:
        corpus: The text.
        rows: Its characters in B rows, (B, columns); a batch is T columns of all rows.
        seq_length: T.
        batches: Numbers of the split's batches.
        dropped: Characters that no split predicts.
    """

    carries_state = True
    rows = ALL_ROWS

    def __init__(
        self, corpus: Corpus, rows: npt.NDArray[np.unsignedinteger], seq_length: int, batches: range, dropped: int
    ) -> None:
        self.split, self.batch_size, self.seq_length, self.dropped = corpus.split("all"), len(rows), seq_length, dropped
        self._rows, self._batches = rows, batches

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ids x and the ids that follow them y, int64 (B, T) each, from batch ``start`` of the split."""
        return map(self._batch, self._batches[start:])

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return a batch, numbered over all splits. The first character follows the last."""
        first, stop = number * self.seq_length, (number + 1) * self.seq_length
        x = self._rows[:, first:stop].astype(np.int64)
        wraps = stop == self._rows.shape[1]
        following = np.roll(self._rows[:, 0], -1) if wraps else self._rows[:, stop]
        y = np.column_stack([x[:, 1:], following.astype(np.int64)])
        return torch.from_numpy(x), torch.from_numpy(y)


def split_batches(count: int, train_frac: float, val_frac: float) -> dict[str, int]:
    """Divide a number of batches as the 2015 program does, in its floating-point arithmetic (0.95 of 130 is 123).

    If the two fractions are together exactly 1, validation takes all the rest.
    """
    train = int(count * train_frac)
    if max(0.0, 1.0 - (train_frac + val_frac)) == 0:
        return {"train": train, "val": count - train, "test": 0}
    val = int(count * val_frac)
    return {"train": train, "val": val, "test": count - train - val}


def split_text(
    corpus: Corpus, batch_size: int, seq_length: int, train_frac: float, val_frac: float
) -> dict[str, Batches]:
    """Return the batches of the splits that are not empty, as ``CharSplitLMMinibatchLoader`` made them.

    The N characters are cut to a multiple of B T and laid out as B rows; a batch is T columns of all rows. The first
    batches are for training, the next for validation, the rest for tests: every split has a piece of every row.

    Raises:
        DataError: There is no batch to train on.
    """
    characters = len(corpus.ids)
    count = characters // (batch_size * seq_length)
    counts = split_batches(count, train_frac, val_frac)
    if not counts["train"]:
        raise DataError(
            f"the text has {characters:,} characters, {count} batches of {batch_size} x {seq_length}, but none to "
            "train on: give more text, or lower training.batch_size or training.seq_length"
        )
    used = count * batch_size * seq_length
    rows, dropped = corpus.ids[:used].reshape(batch_size, -1), corpus.split("all").predicted - used
    first, loaders = 0, dict[str, Batches]()
    for name, number in counts.items():
        if number:
            loaders[name] = SplitBatches(corpus, rows, seq_length, range(first, first + number), dropped)
        first += number
    return loaders
