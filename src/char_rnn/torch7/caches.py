"""The caches of the 2015 program: ``vocab.t7`` and ``data.t7``, which it makes beside ``input.txt``.

``vocab.t7`` is a table, index from 1 by byte; ``data.t7`` a vector of bytes, the text's indices. It uses them as long
as neither is older than ``input.txt``, and also when ``input.txt`` is gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from char_rnn.data.errors import DataError
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.torch7.checkpoints.fields import is_finite, is_virtual, kind
from char_rnn.torch7.t7.reader import load
from char_rnn.torch7.t7.types import T7Error, Table

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
