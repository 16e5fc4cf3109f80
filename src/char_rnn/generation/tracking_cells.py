"""Hidden cells that track features of a text: quotes, line length, indentation, brackets.

Source: Karpathy, Johnson and Fei-Fei 2015, "Visualizing and Understanding Recurrent Networks", arXiv 1506.02078. They
found such cells by eye; this module finds them by correlation.

Dimensions: T characters of a text, L layers, H hidden, K features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import LINE_ENDS

Array = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

SHORTEST = 50  # characters; correlations in a shorter text mean nothing
_RAREST = 10  # characters at which a feature has to differ from its most frequent value

_MARKS = (('"', '"'), ("“", "”"), ("«", "»"))  # a quotation ends in its paragraph
_QUOTATIONS = (rf"{start}(?:(?!\n[ \t]*\n)[^{end}])*{end}" for start, end in _MARKS)
_QUOTED = re.compile("|".join((*_QUOTATIONS, r"(?<!\w)'[^'\n]*'(?!\w)")))


@dataclass(frozen=True)
class TrackingCell:
    """A hidden cell and the feature it tracks.

    Attributes:
        tracks: A name in :data:`FEATURES`.
        layer: Layer, from 0 (the lowest).
        index: Cell of the layer, 0 to H - 1.
        correlation: Pearson correlation of activation and feature; below 0 the cell does the opposite.
    """

    tracks: str
    layer: int
    index: int
    correlation: float


def quotes(text: str) -> Floats:
    """1 from an opening quotation mark to the character before the closing one, in the same paragraph; else 0."""
    inside = np.zeros(len(text))
    for match in _QUOTED.finditer(text):
        inside[match.start() : match.end() - 1] = 1
    return inside


def line_length(text: str) -> Floats:
    """Characters since the last line break."""
    breaks = np.array([character == "\n" for character in text], bool)
    places = np.arange(1, len(text) + 1)
    return (places - np.maximum.accumulate(np.where(breaks, places, 0))).astype(np.float64)


def indentation(text: str) -> Floats:
    """Spaces at the beginning of the line so far; a tab counts as four."""
    depths = []
    depth, leading = 0, True
    for character in text:
        leading = character == "\n" or (leading and character in " \t")
        if leading:
            depth = 0 if character == "\n" else depth + (4 if character == "\t" else 1)
        depths.append(depth)
    return np.array(depths, np.float64)


def brackets(text: str) -> Floats:
    """Number of open brackets of any kind; an empty line closes all."""
    depths = []
    depth, before = 0, ""
    for character in text:
        depth = 0 if character == before == "\n" else max(0, depth + (character in "([{") - (character in ")]}"))
        depths.append(depth)
        before = character
    return np.array(depths, np.float64)


def word_starts(text: str) -> Floats:
    """1 at the first letter or digit of a word; else 0."""
    return np.array(
        [now.isalnum() and not before.isalnum() for before, now in zip(" " + text, text, strict=False)], np.float64
    )


def capitals(text: str) -> Floats:
    """1 at a capital letter; else 0."""
    return np.array([character.isupper() for character in text], np.float64)


FEATURES: Mapping[str, Callable[[str], Floats]] = {
    "quotes": quotes,
    "line length": line_length,
    "indentation": indentation,
    "brackets": brackets,
    "word starts": word_starts,
    "capitals": capitals,
}


def best_cells(text: str | Sequence[str], activations: Array, count: int = 3) -> list[TrackingCell]:
    """Return the cells that track each feature of a text best, from the activations (T, L, H).

    They are in the order of the features, `count` for each, best first; none for a feature that varies at fewer than
    ten characters of the text. Several texts, T characters together, have features of their own.

    Raises:
        ValueError: The number of activations is not T.
    """
    texts = [text] if isinstance(text, str) else text
    length = sum(map(len, texts))
    if len(activations) != length:
        raise ValueError(f"activations: must be one for each of {length} characters; given {len(activations)}")
    if not any("\n" in each for each in texts):
        texts = [each.translate(dict.fromkeys(map(ord, LINE_ENDS), "\n")) for each in texts]
    values = {name: np.concatenate([np.empty(0), *map(of, texts)]) for name, of in FEATURES.items()}
    shown = {name: each for name, each in values.items() if _varies(each)}
    if not shown:
        return []
    _, layers, hidden_size = activations.shape
    features = np.array(list(shown.values()))
    table = np.hstack([correlations(features, activations[:, layer]) for layer in range(layers)])  # to save memory
    found = []
    for name, row in zip(shown, table, strict=True):
        for place in np.argsort(-np.abs(row), kind="stable")[:count]:
            layer, index = divmod(int(place), hidden_size)
            found.append(TrackingCell(name, layer, index, float(row[place])))
    return found


def correlations(features: Array, activations: Array) -> Floats:
    """Return the Pearson correlation of each feature (K, T) with each cell (T, N): (K, N), 0 if one is constant."""
    of_features = _standardized(np.asarray(features, np.float64))
    of_cells = _standardized(np.asarray(activations, np.float64).T)
    result: Floats = np.clip(of_features @ of_cells.T, -1, 1)
    return result


def _standardized(rows: Floats) -> Floats:
    """Scale rows (N, T) to mean 0 and length 1; a constant row becomes 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 1e-9 * sizes))


def _varies(values: Floats) -> bool:
    counts = np.unique(values, return_counts=True)[1]
    return len(values) - int(counts.max(initial=0)) >= _RAREST
