"""The parts of a text that occur in a corpus, by the characters of the text."""

from __future__ import annotations

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.novelty.novelty import Ids, Progress, match, passages, to_symbols


def copied_stretches(
    corpus: Ids, vocabulary: Vocabulary, text: str, at_least: int, report: Progress | None = None
) -> list[tuple[int, int]]:
    """Return the start and end, in characters, of each passage of at least this many characters, in order.

    The corpus is read once; nothing is kept between two calls.

    Args:
        corpus: The training text, symbols (N,) of the vocabulary.
        vocabulary: The corpus's vocabulary.
        text: Text to check.
        at_least: Smallest length of a stretch, in characters.
        report: Receives the progress; it may raise an error to stop.

    Raises:
        ValueError: The text is too long.
    """
    found = passages(match([to_symbols(text, vocabulary)], corpus, vocabulary.size, report))
    stretches = sorted((each.start, each.start + each.length) for each in found if each.length >= at_least)
    if vocabulary.kind == "bytes":
        stretches = _in_characters(text, stretches)
    return [(start, end) for start, end in stretches if end - start >= at_least]


def _in_characters(text: str, stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Convert places in bytes to places in characters; a part of a character at either end does not count."""
    sizes = [len(character.encode("utf-8", "surrogateescape")) for character in text]
    places = np.cumsum([0, *sizes])
    starts, ends = (np.array([stretch[part] for stretch in stretches], np.int64) for part in (0, 1))
    first, last = np.searchsorted(places, starts, "left"), np.searchsorted(places, ends, "right") - 1
    return list(zip(first.tolist(), last.tolist(), strict=True))
