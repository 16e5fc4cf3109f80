"""What a generator needs of a vocabulary, and the plain mappings of the specification's call made into one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import LINE_ENDS, UnknownCharacterError, Vocabulary

_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # those between stand for bytes that are not UTF-8


class Decoder(Protocol):
    """Turns indices that arrive bit by bit into text."""

    def decode(self, indices: Iterable[int], /) -> str:
        """The text that these indices complete."""


class Symbols(Protocol):
    """Text to indices and back; `Vocabulary` is one."""

    @property
    def size(self) -> int:
        """Number of symbols."""

    def encode(self, text: str, /) -> npt.NDArray[Any]:
        """Indices (N,) of a text; `UnknownCharacterError` at the first symbol that is none of these."""

    def decoder(self) -> Decoder:
        """A decoder for indices that arrive bit by bit."""


class CharacterTable:
    """Decodes indices by a table of their characters, which are never split."""

    def __init__(self, idx_to_char: Mapping[int, str]) -> None:
        self._idx_to_char = idx_to_char

    def decode(self, indices: Iterable[int]) -> str:
        """The text of indices."""
        return "".join(map(self._idx_to_char.__getitem__, indices))


class CharacterMap(CharacterTable):
    """Symbols given as two mappings, in any order of characters.

    Args:
        char_to_idx: Index of each character.
        idx_to_char: Character of each index, as a mapping or a sequence; ``None`` = the inverse.

    Raises:
        ValueError: The indices are not 0 to V - 1, or the mappings are not each other's inverse.
    """

    def __init__(
        self, char_to_idx: Mapping[str, int], idx_to_char: Mapping[int, str] | Sequence[str] | None = None
    ) -> None:
        inverse = {index: character for character, index in char_to_idx.items()}
        if not inverse:
            raise ValueError("char_to_idx: must not be empty")
        if sorted(inverse) != list(range(len(char_to_idx))):
            raise ValueError(f"char_to_idx: indices must be 0 to {len(char_to_idx) - 1}, each once")
        if idx_to_char is not None and _as_mapping(idx_to_char) != inverse:
            raise ValueError("idx_to_char: must be the inverse of char_to_idx; leave it out to have it made")
        super().__init__(inverse)
        self._char_to_idx = dict(char_to_idx)

    @property
    def size(self) -> int:
        """Number of symbols."""
        return len(self._idx_to_char)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Indices (N,) of a text.

        Raises:
            UnknownCharacterError: At the first character that has no index.
        """
        for position, character in enumerate(text):
            if character not in self._char_to_idx:
                raise UnknownCharacterError(character, position)
        return np.array([self._char_to_idx[character] for character in text], dtype=np.int64)

    def decoder(self) -> Decoder:
        """The map itself: a character is never split."""
        return self


def as_symbols(
    vocabulary: Vocabulary | Mapping[str, int], idx_to_char: Mapping[int, str] | Sequence[str] | None
) -> Symbols:
    """The vocabulary itself, or the symbols that the mappings describe."""
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    return CharacterMap(vocabulary, idx_to_char)


def decoder_of(symbols: Symbols) -> Decoder:
    """A decoder for indices that arrive bit by bit; for one at a time faster than a `Vocabulary`'s own."""
    if isinstance(symbols, Vocabulary) and symbols.kind == "characters":
        return CharacterTable(symbols.idx_to_char)
    return symbols.decoder()


def line_end(symbols: Symbols) -> str | None:
    """Character that ends a line, as `Vocabulary.line_end`."""
    if isinstance(symbols, Vocabulary):
        return symbols.line_end
    return next(filter(knowing(symbols), LINE_ENDS), None)


def indices_of(symbols: Symbols, characters: str, name: str) -> list[int]:
    """The indices of those of some characters that the vocabulary has; ``name`` is whose they are.

    Raises:
        ValueError: One is several symbols: of a vocabulary of bytes, one outside ASCII.
    """
    indices = []
    for character in filter(knowing(symbols), characters):
        encoded = symbols.encode(character)
        if len(encoded) != 1:
            raise ValueError(
                f"{name}: {character!r} is {len(encoded)} bytes, and this model writes byte by byte;"
                " name characters of one byte (ASCII) only"
            )
        indices.append(int(encoded[0]))
    return indices


def knowing(symbols: Symbols) -> Callable[[str], bool]:
    """A test of whether a piece of text has indices; quick, for texts of many characters that have none."""
    if isinstance(symbols, Vocabulary):
        known = frozenset(symbols.symbols)
        if symbols.kind == "characters":
            return lambda text: known.issuperset(map(ord, text))
        return lambda text: not _SURROGATE.search(text) and known.issuperset(text.encode("utf-8", "surrogateescape"))

    def has(text: str) -> bool:
        try:
            symbols.encode(text)
        except UnknownCharacterError:
            return False
        return True

    return has


def _as_mapping(idx_to_char: Mapping[int, str] | Sequence[str]) -> dict[int, str]:
    return dict(idx_to_char) if isinstance(idx_to_char, Mapping) else dict(enumerate(idx_to_char))
