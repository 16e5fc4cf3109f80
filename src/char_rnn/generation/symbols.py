"""What a generator needs of a vocabulary, and the plain mappings of the specification's call made into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary


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


class CharacterMap:
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
        self._char_to_idx = dict(char_to_idx)
        self._idx_to_char = inverse

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

    def decode(self, indices: Iterable[int]) -> str:
        """The text of indices."""
        return "".join(self._idx_to_char[int(index)] for index in indices)

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


def split_unknown(symbols: Symbols, text: str) -> tuple[str, list[str]]:
    """The part of ``text`` that has indices, and the distinct characters that have none, in order of appearance."""
    known = {character: _has_index(symbols, character) for character in dict.fromkeys(text)}
    kept = "".join(character for character in text if known[character])
    return kept, [character for character, found in known.items() if not found]


def _has_index(symbols: Symbols, character: str) -> bool:
    try:
        symbols.encode(character)
    except UnknownCharacterError:
        return False
    return True


def _as_mapping(idx_to_char: Mapping[int, str] | Sequence[str]) -> dict[int, str]:
    return dict(idx_to_char) if isinstance(idx_to_char, Mapping) else dict(enumerate(idx_to_char))
