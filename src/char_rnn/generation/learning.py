"""A model that learns from a text while it is written, on a copy of its weights.

The weights depend on the text only: undo, or writing a text again, gives the same weights bit for bit.

Dimensions: n symbols of a segment.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from char_rnn.generation.engine import Engine

SEGMENT = 20  # symbols between two updates
MEMORY = 256 << 20  # bytes of saved weights
FEWEST = 8  # saved weights, whatever their size

Tensors = Mapping[str, npt.NDArray[Any]]
EngineOf = Callable[[Tensors], Engine]
"""Makes the engine of a model with these weights."""


class Learner(Protocol):
    """A model that learns; see `char_rnn.training.learner.Learner`."""

    @property
    def nbytes(self) -> int:
        """Bytes of a snapshot."""

    def begin(self) -> None:
        """Set the state to that of the beginning of a text."""

    def learn_symbols(self, symbols: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], /) -> None:
        """Read symbols (n + 1,), and learn from those of the last n that are `chosen`, (n,)."""

    def snapshot(self) -> Any:
        """Return what is learned so far; its first part is the same object as before if the weights are the same."""

    def restore(self, learned: Any = None, /) -> None:
        """Return to a snapshot, bit for bit; ``None`` for the beginning."""

    def tensors(self) -> Tensors:
        """Return the weights by their names in the state dict."""

    def state(self) -> list[npt.NDArray[Any]]:
        """Return the parts of the state without the axis of streams, for `Streams.set_hidden`."""


class Segment(NamedTuple):
    """A part of a text to learn from.

    Attributes:
        symbols: Symbols (n + 1,): the first is read only, the others are to be predicted.
        chosen: Which of those n to learn from.
        begins: Whether a text begins here.
    """

    symbols: tuple[int, ...]
    chosen: tuple[bool, ...]
    begins: bool


def segments_of(symbols: Sequence[int], chosen: Sequence[bool] | None = None, *, whole: bool = False) -> list[Segment]:
    """Divide a text into segments; all are chosen by default. The last may be shorter, unless they have to be `whole`.

    Each segment begins with the last symbol of the segment before.
    """
    chosen = [True] * len(symbols) if chosen is None else chosen
    starts = range(0, len(symbols) - (SEGMENT if whole else 1), SEGMENT)
    return [Segment(tuple(symbols[s : s + SEGMENT + 1]), tuple(chosen[s + 1 : s + SEGMENT + 1]), not s) for s in starts]


class Learning:
    """A learner and the weights it has saved along texts.

    Args:
        learner: The learner, also an attribute. Its state is that before the last symbol of the text.
        engine_of: Makes engines of its weights, for :attr:`engine`.
    """

    def __init__(self, learner: Learner, engine_of: EngineOf | None = None) -> None:
        self.learner, self._engine_of = learner, engine_of
        self._most = max(FEWEST, MEMORY // learner.nbytes)
        self._saved: dict[bytes, tuple[int, Any]] = {}  # place and snapshot by the name of the text, the latest last
        self._present = b""
        self._weights: Any = None

    def follow(self, segments: Sequence[Segment]) -> Iterator[int]:
        """Learn from a text, from the original weights on; yield the number of segments left before each.

        Segments learned before are not learned again.
        """
        for number in range(self.go_back(segments), len(segments)):
            segment = segments[number]
            yield len(segments) - number
            if segment.begins:
                self.learner.begin()
            self.learner.learn_symbols(np.array(segment.symbols, np.int64), np.array(segment.chosen, np.bool_))
            self._present = _name(self._present, segment)
            self._save(number + 1)

    def go_back(self, segments: Sequence[Segment]) -> int:
        """Return to the latest saved weights along a text, and the number of its segments that they have learned."""
        names = list(accumulate(segments, _name, initial=b""))
        place = max(k for k, name in enumerate(names) if not k or name == self._present or name in self._saved)
        if names[place] != self._present:
            self.learner.restore(self._saved[names[place]][1] if place else None)
            self._present = names[place]
        return place

    @property
    def engine(self) -> Engine:
        """The engine of the present weights."""
        weights = self.learner.snapshot()[0]
        if weights is not self._weights:
            assert self._engine_of is not None
            self._weights, self._engine = weights, self._engine_of(self.learner.tensors())
        return self._engine

    def forget(self) -> None:
        """Drop all saved weights, and what was learned."""
        self._saved.clear()
        self.learner.restore()
        self._present, self._weights = b"", None

    def _save(self, place: int) -> None:
        """Save the present weights; of the older half, those at places divisible by a high power of two remain."""
        self._saved.pop(self._present, None)
        self._saved[self._present] = place, self.learner.snapshot()
        if len(self._saved) > self._most:
            older = list(self._saved.items())[: len(self._saved) // 2]
            least, _ = min(older, key=lambda item: item[1][0] & -item[1][0])
            del self._saved[least]


def _name(before: bytes, segment: Segment) -> bytes:
    """A name for the text that ends with a segment, of the name of the text before it."""
    symbols = array("q", segment.symbols).tobytes()
    return hashlib.sha256(before + symbols + bytes((*segment.chosen, segment.begins))).digest()
