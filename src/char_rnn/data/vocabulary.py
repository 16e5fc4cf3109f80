"""Vocabularies: the characters (Unicode code points) or the bytes of a text, numbered.

One made of a text is in sorted order. Others may number their symbols as they like, as torch-rnn does (in the order of
their first appearance): what an index means is the symbol's place in the vocabulary, and nothing else.

NumPy only, so that a model file can be read without PyTorch.
"""

import codecs
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

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


Indices = npt.NDArray[np.unsignedinteger[Any]]
IndicesLike = npt.NDArray[np.integer[Any]] | Iterable[int]


class UnknownCharacterError(ValueError):
    """A text holds a character (or a byte) that its vocabulary does not.

    Attributes:
        character: The character; for a byte vocabulary the byte as `chr(byte)`.
        position: Its place in the text, in characters (bytes for a byte vocabulary), from 0.
    """

    def __init__(self, character: str, position: int, kind: VocabularyKind = "characters", where: str = "") -> None:
        self.character = character
        self.position = position
        self.kind = kind
        self.where = where
        code = f"0x{ord(character):02X}" if kind == "bytes" else f"{character!r} (U+{ord(character):04X})"
        noun = "byte" if kind == "bytes" else "character"
        super().__init__(
            f"{where + ': ' if where else ''}unknown {noun} {code} at position {position}: "
            f"the vocabulary does not hold it; remove or replace it, or train on a text that has it"
        )

    def __reduce__(self) -> tuple[type["UnknownCharacterError"], tuple[str, int, VocabularyKind, str]]:
        return type(self), (self.character, self.position, self.kind, self.where)


class Vocabulary:
    """The symbols of a text and their indices.

    Args:
        kind: `"characters"` (Unicode code points) or `"bytes"`.
        symbols: Code points or byte values, each once; a symbol's index is its place here.

    Raises:
        ValueError: If the kind is another, or the symbols are none, out of range, surrogates, or not distinct.
    """

    def __init__(self, kind: VocabularyKind, symbols: Iterable[int]) -> None:
        self.kind = check_kind(kind)
        self.symbols = check_symbols(kind, symbols)

    @classmethod
    def from_text(cls, text: str | bytes, kind: VocabularyKind = "characters") -> "Vocabulary":
        """Make the vocabulary of all symbols in a text, in increasing order.

        Args:
            text: The text. Bytes are read as UTF-8 by a character vocabulary; text becomes UTF-8 for a byte one.
            kind: `"characters"` or `"bytes"`.

        Raises:
            ValueError: If the text is empty, or cannot be read or written as UTF-8.
        """
        seen = SymbolSet(kind)
        seen.update(_as_bytes(text) if kind == "bytes" else _as_text(text))
        return cls(kind, seen.symbols())

    @property
    def unit(self) -> str:
        """What one symbol is, for words like "nats per character": `"character"` or `"byte"`."""
        return "byte" if self.kind == "bytes" else "character"

    @cached_property
    def line_end(self) -> str | None:
        """Character that ends a line, the first of `LINE_ENDS` that is a symbol; ``None`` = none is."""
        ends = LINE_ENDS if self.kind == "characters" else filter(str.isascii, LINE_ENDS)  # others take more
        return next((end for end in ends if ord(end) in self.symbols), None)

    @property
    def size(self) -> int:
        """Number of symbols."""
        return len(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest unsigned integer type that holds every index."""
        return np.min_scalar_type(self.size - 1)

    @cached_property
    def char_to_idx(self) -> dict[str, int]:
        """Index of each character; a byte is the character `chr(byte)`."""
        return {chr(symbol): index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def idx_to_char(self) -> dict[int, str]:
        """Character of each index; a byte is the character `chr(byte)`."""
        return {index: chr(symbol) for index, symbol in enumerate(self.symbols)}

    def encode(self, text: str | bytes) -> Indices:
        """Turn a text into indices.

        Args:
            text: The text. Bytes are read as UTF-8 by a character vocabulary; text becomes UTF-8 for a byte one.

        Returns:
            Indices, shape (N,), of type `dtype`.

        Raises:
            UnknownCharacterError: At the first symbol that is not in the vocabulary.
            ValueError: If a character vocabulary is given bytes that are not UTF-8.
        """
        piece = narrow(_as_bytes(text) if self.kind == "bytes" else _as_text(text))
        symbols: Indices = np.frombuffer(piece, dtype=np.uint8) if isinstance(piece, bytes) else piece
        if isinstance(piece, bytes) and self.size < 256:
            indices: Indices = np.frombuffer(bytearray(piece.translate(self._byte_table)), dtype=np.uint8)
        else:
            indices = np.take(self._table, symbols)
        if self.size < SYMBOL_RANGE[self.kind]:
            self._check_known(indices, symbols)
        return indices.astype(self.dtype, copy=False)

    def decode(self, indices: IndicesLike) -> str:
        """Turn indices, shape (N,), into text; bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: If an index is not in the vocabulary.
        """
        symbols = self._symbols_of(indices)
        if self.kind == "bytes":
            return symbols.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return symbols.tobytes().decode("utf-32-le")

    def decode_bytes(self, indices: IndicesLike) -> bytes:
        """Turn indices, shape (N,), into bytes: exact for a byte vocabulary, UTF-8 for characters.

        Raises:
            ValueError: If an index is not in the vocabulary.
        """
        if self.kind == "bytes":
            return self._symbols_of(indices).astype(np.uint8).tobytes()
        return self.decode(indices).encode("utf-8")

    def decoder(self) -> "TextDecoder":
        """Make a decoder for indices that arrive bit by bit."""
        return TextDecoder(self)

    def to_dict(self) -> dict[str, Any]:
        """Describe the vocabulary in types that JSON has; `from_dict` reads it back."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @classmethod
    def from_dict(cls, description: object) -> "Vocabulary":
        """Make a vocabulary from the description `to_dict` gave, which may come from anywhere.

        Raises:
            ValueError: If it is not such a description.
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
        return type(self), (self.kind, self.symbols)  # not the look-up tables

    def __repr__(self) -> str:
        return f"Vocabulary({self.kind!r}, {self.size} symbols)"

    @cached_property
    def _table(self) -> Indices:
        """Index of every possible symbol; `size` for those the vocabulary does not hold."""
        table: Indices = np.full(SYMBOL_RANGE[self.kind], self.size, dtype=np.min_scalar_type(self.size))
        table[list(self.symbols)] = np.arange(self.size)
        return table

    @cached_property
    def _byte_table(self) -> bytes:
        return self._table[:256].tobytes()

    def _check_known(self, indices: Indices, symbols: Indices) -> None:
        if indices.size and indices.max() == self.size:
            position = int(np.argmax(indices == self.size))
            raise UnknownCharacterError(chr(int(symbols[position])), position, self.kind)

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

    @cached_property
    def _symbol_array(self) -> npt.NDArray[np.uint32]:
        return np.array(self.symbols, dtype="<u4")


class TextDecoder:
    """Decodes indices that arrive bit by bit: a UTF-8 character split over calls is held back until whole."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, indices: IndicesLike) -> str:
        """Return the text that these indices complete; bytes that can be no UTF-8 become U+FFFD."""
        if self._vocabulary.kind == "characters":
            return self._vocabulary.decode(indices)
        return self._utf8.decode(self._vocabulary.decode_bytes(indices))

    def flush(self) -> str:
        """End the text: return U+FFFD for an unfinished character, else nothing; the decoder is as new."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def _as_text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} of the text is not UTF-8: decode it first, or use bytes") from None


def _as_bytes(text: str | bytes) -> bytes:
    """Give a text's UTF-8; bytes that came through `os.fsdecode` (command lines) are as they were."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UnknownCharacterError(text[error.start], error.start) from None
