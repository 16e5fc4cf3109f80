"""Vocabularies: the characters (Unicode code points) or the bytes of a text, numbered.

The vocabulary of a text is sorted. Others may have any order: torch-rnn numbers symbols by their first appearance. An
index means the symbol at that place of the vocabulary, and nothing else.

NumPy only, so that a model file can be read without PyTorch.
"""

import codecs
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

VocabularyKind = Literal["characters", "bytes"]
Indices = npt.NDArray[np.unsignedinteger[Any]]
IndicesLike = npt.NDArray[np.integer[Any]] | Iterable[int]

SYMBOL_RANGE: dict[VocabularyKind, int] = {"characters": 0x110000, "bytes": 256}
SURROGATES = range(0xD800, 0xE000)
PROBE = 4096  # bytes of a piece that new symbols are taken from at once
LINE_ENDS = ("\n", "\r", "\x85", "\u2028", "\u2029")
"""Characters that end a line; the first of them in a vocabulary ends its lines."""


class UnknownCharacterError(ValueError):
    """A text has a character (or a byte) that its vocabulary lacks.

    Attributes:
        character: The character; for a byte vocabulary the byte as `chr(byte)`.
        position: Its position in the text, in characters (bytes for a byte vocabulary), from 0.
    """

    def __init__(
        self,
        character: str,
        position: int,
        kind: VocabularyKind = "characters",
        where: str = "",
        advice: str = "remove or replace it, or train on a text that has it",
    ) -> None:
        self.character, self.position, self.kind, self.where, self.advice = character, position, kind, where, advice
        code = ord(character)
        symbol = f"character {character!r} (U+{code:04X})"
        if kind == "bytes":
            symbol = f"byte 0x{code:02X}" + (f" ({character!r})" if " " <= character <= "~" else "")
        unknown = f"{where + ': ' if where else ''}unknown {symbol} at position {position}"
        super().__init__(f"{unknown}: it is not in the vocabulary; {advice}")

    def __reduce__(self) -> tuple[type["UnknownCharacterError"], tuple[str, int, VocabularyKind, str, str]]:
        return type(self), (self.character, self.position, self.kind, self.where, self.advice)

    def advising(self, advice: str) -> "UnknownCharacterError":
        """Return this error with other advice at the end of its message."""
        return UnknownCharacterError(self.character, self.position, self.kind, self.where, advice)


class SymbolSet:
    """Collects the distinct symbols of a text that is read in pieces."""

    def __init__(self, kind: VocabularyKind) -> None:
        self.kind = check_kind(kind)
        self._low = b""
        self._seen = np.zeros(SYMBOL_RANGE[self.kind], dtype=np.bool_)

    def update(self, piece: str | bytes) -> None:
        """Add a piece of text: bytes for the kind `"bytes"`, otherwise a string."""
        symbols = _narrow(piece)
        if isinstance(symbols, bytes):
            while rest := symbols.translate(None, self._low):  # deletes the known bytes, which is fast
                self._low += bytes(set(rest[:PROBE]))
                symbols = rest
        elif not np.take(self._seen, symbols).all():  # three times as fast as marking all again
            self._seen[symbols] = True

    def symbols(self) -> list[int]:
        """Return all symbols, in increasing order."""
        return sorted({*self._low, *np.flatnonzero(self._seen).tolist()})


class Vocabulary:
    """The symbols of a text and their indices.

    Args:
        kind: `"characters"` (Unicode code points) or `"bytes"`.
        symbols: Distinct code points or byte values; the index of a symbol is its place here.

    Raises:
        ValueError: The kind is unknown, or the symbols are missing, out of range, surrogates, or not distinct.
    """

    def __init__(self, kind: VocabularyKind, symbols: Iterable[int]) -> None:
        self.kind = check_kind(kind)
        self.symbols = _check_symbols(kind, symbols)

    @classmethod
    def from_text(cls, text: str | bytes, kind: VocabularyKind = "characters") -> "Vocabulary":
        """Make the vocabulary of all symbols in a text, in increasing order.

        Args:
            text: The text. A character vocabulary decodes bytes as UTF-8; a byte vocabulary encodes text as UTF-8.
            kind: `"characters"` or `"bytes"`.

        Raises:
            ValueError: The text is empty, or not valid UTF-8.
        """
        seen = SymbolSet(kind)
        seen.update(_as_bytes(text) if kind == "bytes" else _as_text(text))
        return cls(kind, seen.symbols())

    def extended(self, symbols: Iterable[int]) -> "Vocabulary":
        """Return this vocabulary followed by the symbols that it lacks, in increasing order; old indices stay."""
        return Vocabulary(self.kind, (*self.symbols, *sorted({*symbols} - {*self.symbols})))

    @property
    def unit(self) -> str:
        """Name of one symbol, for words like "nats per character": `"character"` or `"byte"`."""
        return "byte" if self.kind == "bytes" else "character"

    @cached_property
    def line_end(self) -> str | None:
        """Character that ends a line, the first of `LINE_ENDS` in the vocabulary; None if there is none."""
        ends = LINE_ENDS if self.kind == "characters" else filter(str.isascii, LINE_ENDS)  # others take several bytes
        return next((end for end in ends if ord(end) in self.symbols), None)

    @property
    def size(self) -> int:
        """Number of symbols."""
        return len(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Smallest unsigned integer type that holds every index."""
        return np.min_scalar_type(self.size - 1)

    @cached_property
    def char_to_idx(self) -> dict[str, int]:
        """Index of each character; a byte is the character `chr(byte)`."""
        return {chr(symbol): index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def idx_to_char(self) -> dict[int, str]:
        """Character of each index; a byte is the character `chr(byte)`."""
        return {index: chr(symbol) for index, symbol in enumerate(self.symbols)}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        r"""Each symbol as it is shown: its character, or for a byte that is not a character alone ``\xC3``."""
        characters = 0x80 if self.kind == "bytes" else SYMBOL_RANGE["characters"]
        return tuple(chr(symbol) if symbol < characters else f"\\x{symbol:02X}" for symbol in self.symbols)

    def encode(self, text: str | bytes) -> Indices:
        """Convert a text into indices.

        Args:
            text: The text. A character vocabulary decodes bytes as UTF-8; a byte vocabulary encodes text as UTF-8.

        Returns:
            Indices, shape (N,), of type `dtype`.

        Raises:
            UnknownCharacterError: The vocabulary lacks a symbol; the first one is named.
            ValueError: A character vocabulary was given bytes that are not UTF-8.
        """
        piece = _narrow(_as_bytes(text) if self.kind == "bytes" else _as_text(text))
        symbols: Indices = np.frombuffer(piece, dtype=np.uint8) if isinstance(piece, bytes) else piece
        if isinstance(piece, bytes) and self.size < 256:
            indices: Indices = np.frombuffer(bytearray(piece.translate(self._byte_table)), dtype=np.uint8)
        else:
            indices = np.take(self._table, symbols)
        if self.size < SYMBOL_RANGE[self.kind] and indices.size and indices.max() == self.size:
            position = int(np.argmax(indices == self.size))
            raise UnknownCharacterError(chr(int(symbols[position])), position, self.kind)
        return indices.astype(self.dtype, copy=False)

    def decode(self, indices: IndicesLike) -> str:
        """Convert indices, shape (N,), into text; bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: An index is out of range.
        """
        symbols = self._symbols_of(indices)
        if self.kind == "bytes":
            return symbols.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return symbols.tobytes().decode("utf-32-le")

    def decode_bytes(self, indices: IndicesLike) -> bytes:
        """Convert indices, shape (N,), into bytes: exact for a byte vocabulary, UTF-8 for characters.

        Raises:
            ValueError: An index is out of range.
        """
        if self.kind == "bytes":
            return self._symbols_of(indices).astype(np.uint8).tobytes()
        return self.decode(indices).encode("utf-8")

    def decoder(self) -> "TextDecoder":
        """Return a decoder for indices that arrive in pieces."""
        return TextDecoder(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as JSON represents it; `from_dict` reads it."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @classmethod
    def from_dict(cls, description: object) -> "Vocabulary":
        """Make a vocabulary from the result of `to_dict`, which may come from any source.

        Raises:
            ValueError: It is not such a result.
        """
        if not isinstance(description, Mapping) or set(description) != {"kind", "symbols"}:
            raise ValueError("vocabulary: must be a mapping with the keys kind and symbols")
        symbols = description["symbols"]
        if not isinstance(symbols, list):
            raise ValueError("vocabulary symbols: must be a list of integers")  # noqa: TRY004
        return cls(description["kind"], symbols)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (self.kind, self.symbols) == (other.kind, other.symbols)

    def __hash__(self) -> int:
        return hash((self.kind, self.symbols))

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[VocabularyKind, tuple[int, ...]]]:
        return type(self), (self.kind, self.symbols)  # without the look-up tables

    def __repr__(self) -> str:
        return f"Vocabulary({self.kind!r}, {self.size} symbols)"

    @cached_property
    def _table(self) -> Indices:
        """Index of every possible symbol; `size` for those that the vocabulary lacks."""
        table: Indices = np.full(SYMBOL_RANGE[self.kind], self.size, dtype=np.min_scalar_type(self.size))
        table[list(self.symbols)] = np.arange(self.size)
        return table

    @cached_property
    def _byte_table(self) -> bytes:
        return self._table[:256].tobytes()

    @cached_property
    def _symbol_array(self) -> npt.NDArray[np.uint32]:
        return np.array(self.symbols, dtype="<u4")

    def _symbols_of(self, indices: IndicesLike) -> npt.NDArray[np.uint32]:
        array = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices))
        if array.size == 0:
            return np.empty(0, dtype="<u4")
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"indices: must be a sequence of integers, not {array.dtype} of shape {array.shape}")
        outside = (array < 0) | (array >= self.size)
        if outside.any():
            place = int(np.argmax(outside))
            raise ValueError(f"index {array[place]} at position {place}: must be 0 to {self.size - 1}")
        return np.take(self._symbol_array, array)


class TextDecoder:
    """Decodes indices that arrive in pieces; a UTF-8 character split over calls is held back until it is complete."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, indices: IndicesLike) -> str:
        """Return the text that these indices complete; invalid UTF-8 becomes U+FFFD."""
        if self._vocabulary.kind == "characters":  # for one index faster than `Vocabulary.decode`
            return "".join(map(self._vocabulary.idx_to_char.__getitem__, indices))
        return self._utf8.decode(self._vocabulary.decode_bytes(indices))


def check_kind(kind: str) -> VocabularyKind:
    """Return the kind of a vocabulary.

    Raises:
        ValueError: The kind is unknown.
    """
    if not isinstance(kind, str) or kind not in SYMBOL_RANGE:
        raise ValueError(f"vocabulary kind {repr(kind)[:40]}: must be one of {', '.join(SYMBOL_RANGE)}")
    return kind


def _check_symbols(kind: VocabularyKind, symbols: Iterable[int]) -> tuple[int, ...]:
    checked = tuple(symbols)
    if not checked:
        raise ValueError("vocabulary symbols: none; a vocabulary needs at least one")
    seen = set()
    for place, symbol in enumerate(checked):
        if type(symbol) is not int or not 0 <= symbol < SYMBOL_RANGE[kind] or symbol in SURROGATES:
            allowed = "a byte, 0 to 255" if kind == "bytes" else "a code point, 0 to 0x10FFFF and not a surrogate"
            raise ValueError(f"vocabulary symbol {place}: must be {allowed}, not {repr(symbol)[:40]}")
        if symbol in seen:
            raise ValueError(f"vocabulary symbol {place}: {symbol} a second time; symbols must be distinct")
        seen.add(symbol)
    return checked


def _narrow(piece: str | bytes) -> bytes | npt.NDArray[np.uint32]:
    """Return the symbols of a piece of text as bytes if all are below 256, otherwise as code points.

    `bytes.translate` is several times faster than an indexed look-up, hence the two forms.
    """
    if isinstance(piece, bytes):
        return piece
    try:
        return piece.encode("latin-1")
    except UnicodeEncodeError:
        return np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _as_text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} of the text is not UTF-8: decode it first, or use bytes") from None


def _as_bytes(text: str | bytes) -> bytes:
    """Return the UTF-8 of a text; bytes that came through `os.fsdecode` (command lines) are unchanged."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UnknownCharacterError(text[error.start], error.start) from None
