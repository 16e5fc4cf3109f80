"""The symbols a text is made of: Unicode code points or byte values, as numbers."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

VocabularyKind = Literal["characters", "bytes"]

SYMBOL_RANGE: dict[VocabularyKind, int] = {"characters": 0x110000, "bytes": 256}
SURROGATES = range(0xD800, 0xE000)
PROBE = 4096
LINE_ENDS = ("\n", "\r", "\x85", "\u2028", "\u2029")
"""Characters that end a line; the first of them that a vocabulary has ends its lines."""


class SymbolSet:
    """Collects the distinct symbols of a text that is read in pieces."""

    def __init__(self, kind: VocabularyKind) -> None:
        self.kind = check_kind(kind)
        self._low = b""
        self._seen = np.zeros(SYMBOL_RANGE[self.kind], dtype=np.bool_)

    def update(self, piece: str | bytes) -> None:
        """Add a piece of text: bytes for the kind `"bytes"`, else a string."""
        symbols = narrow(piece)
        if isinstance(symbols, bytes):
            self._update_low(symbols)
        elif not np.take(self._seen, symbols).all():  # three times as fast as marking all again
            self._seen[symbols] = True

    def symbols(self) -> list[int]:
        """Return everything seen, in increasing order."""
        return sorted({*self._low, *np.flatnonzero(self._seen).tolist()})

    def _update_low(self, piece: bytes) -> None:
        """Delete the bytes already known from the piece (fast), and learn from the head of what is left."""
        while rest := piece.translate(None, self._low):
            self._low += bytes(set(rest[:PROBE]))
            piece = rest


def narrow(piece: str | bytes) -> bytes | npt.NDArray[np.uint32]:
    """Give the symbols of a piece of text as bytes where every one is below 256, else as code points.

    `bytes.translate` is several times faster than an indexed look-up, hence the two shapes.
    """
    if isinstance(piece, bytes):
        return piece
    try:
        return piece.encode("latin-1")
    except UnicodeEncodeError:
        return np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def check_kind(kind: str) -> VocabularyKind:
    """Return the kind of a vocabulary.

    Raises:
        ValueError: If it is not one.
    """
    if not isinstance(kind, str) or kind not in SYMBOL_RANGE:
        raise ValueError(f"vocabulary kind {repr(kind)[:40]}: must be one of {', '.join(SYMBOL_RANGE)}")
    return kind


def check_symbols(kind: VocabularyKind, symbols: Iterable[int]) -> tuple[int, ...]:
    """Return the symbols of a vocabulary as a tuple.

    Raises:
        ValueError: If they are none, out of range, surrogates, or not distinct.
    """
    checked = tuple(symbols)
    if not checked:
        raise ValueError("vocabulary symbols: none; a vocabulary needs at least one")
    seen = set()
    for place, symbol in enumerate(checked):
        if type(symbol) is not int or not 0 <= symbol < SYMBOL_RANGE[kind] or symbol in SURROGATES:
            allowed = "a byte, 0 to 255" if kind == "bytes" else "a code point, 0 to 0x10FFFF and no surrogate"
            raise ValueError(f"vocabulary symbol {place}: must be {allowed}, not {repr(symbol)[:40]}")
        if symbol in seen:
            raise ValueError(f"vocabulary symbol {place}: {symbol} a second time; symbols must be distinct")
        seen.add(symbol)
    return checked
