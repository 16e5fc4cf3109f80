"""The states of streams that are decoded side by side, for both engines.

Dimensions: N streams, V vocabulary, L layers, H hidden, A attending layers, W window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import Array, Network

StreamState = tuple[npt.NDArray[Any], ...]
"""State of one stream: the parts of the cells' state, (L, H) each; with attention, also its ring and place; with
matches, also the history."""


class StreamStates:
    """The states of N streams.

    Attributes:
        cells: Parts of the cells' state by name, (N, L, H) each; the first is the layers' output.
        ring: (N, A, W + 1, H): normalized states that attention reads, including the present one.
        place: (N,), the place in the ring of the next state, which replaces the oldest.
        history: (N, W + 1): the latest symbols + 1, and 0 before the text, for matches.
        vocab_size: V.
    """

    def __init__(self, cells: Mapping[str, Array], ring: Array, history: Array, vocab_size: int) -> None:
        self.cells, self.ring, self.history, self.vocab_size = cells, ring, history, vocab_size
        self.place: npt.NDArray[np.int64] = np.zeros(len(ring), np.int64)
        self._parts: StreamState = tuple(cells.values())
        if ring.shape[1]:
            self._parts += (ring, self.place)
        if history.shape[1]:
            self._parts += (history,)

    @classmethod
    def of(cls, network: Network) -> StreamStates:
        """The states of no streams, which :meth:`zeros` extends; no reference to the network is stored."""
        windows = [layer.attention.window for layer in network.layers if layer.attention is not None]
        dtype, hidden = network.output_bias.dtype, network.hidden_size
        cells = {name: np.zeros((0, len(network.layers), hidden), dtype) for name in network.cell.state}
        ring = np.zeros((0, len(windows), max(windows, default=0) + 1, hidden), dtype)
        history = np.zeros((0, network.matches.window + 1 if network.matches else 0), dtype)
        return cls(cells, ring, history, network.vocab_size)

    def zeros(self, count: int) -> StreamStates:
        """Zero states of these shapes, those of the beginning of a text, for `count` streams."""
        parts = (*self.cells.values(), self.ring, self.history)
        *cells, ring, history = (np.zeros((count, *part.shape[1:]), part.dtype) for part in parts)
        return StreamStates(dict(zip(self.cells, cells, strict=True)), ring, history, self.vocab_size)

    def __len__(self) -> int:
        return len(self.place)

    @property
    def output(self) -> Array:
        """Output of the layers, (N, L, H)."""
        return next(iter(self.cells.values()))

    def past(self, rows: npt.NDArray[np.intp], attending: int, x: Array) -> Array:
        """Put states (N, H) into one ring of each stream, and return the rings: (N, W + 1, H)."""
        self.ring[rows, attending, self.place[rows]] = x
        past: Array = self.ring[rows, attending]
        return past

    def turn(self, rows: npt.NDArray[np.intp]) -> None:
        """Move to the next place of the rings."""
        self.place[rows] = (self.place[rows] + 1) % self.ring.shape[2]

    def match(self, row: int, symbol: int, lengths: Sequence[int]) -> list[int]:
        """Read a symbol in a stream; return what followed the latest match of every length: a symbol + 1, or 0."""
        history = self.history[row]
        history[:-1] = history[1:]
        history[-1] = symbol + 1
        found = []
        for length in lengths:
            last = history[-length:]
            starts = np.flatnonzero(history[:-length] == last[0])
            for place in range(1, length):
                starts = starts[history[starts + place] == last[place]]
            found.append(int(history[starts[-1] + length]) if len(starts) and last[0] else 0)
        return found

    def reset(self, row: int) -> None:
        """Set a stream to the zero state, that of the beginning of a text."""
        for part in self._parts:
            part[row] = 0

    def get(self, row: int) -> StreamState:
        """A copy of a stream's state."""
        return tuple(part[row].copy() for part in self._parts)

    def set(self, row: int, state: StreamState) -> None:
        """Set a stream's state.

        Raises:
            ValueError: The shapes are not those of this model, or the place is outside the ring.
        """
        shapes = [part.shape[1:] for part in self._parts]
        if [np.shape(part) for part in state] != shapes:
            raise ValueError(f"state: must be arrays of shapes {shapes}, given {[np.shape(part) for part in state]}")
        for own, part in zip(self._parts, state, strict=True):
            if own is self.place and not 0 <= int(part) < self.ring.shape[2]:
                raise ValueError(
                    f"state: the ring position must be from 0 to {self.ring.shape[2] - 1}, given {int(part)}"
                )
            if own is self.history and not ((part >= 0) & (part <= self.vocab_size)).all():
                raise ValueError(f"state: the history must contain numbers from 0 to {self.vocab_size}")
        for own, part in zip(self._parts, state, strict=True):
            own[row] = part

    def set_hidden(self, row: int, parts: Sequence[npt.NDArray[Any]]) -> None:
        """Set a stream's state to that of a PyTorch model; its parts are without the axis of streams."""
        self.reset(row)
        left = list(parts)
        for own in self.cells.values():
            own[row] = left.pop(0)
        if self.ring.shape[1]:  # the next state replaces the last place, which is not read before
            self.ring[row, :, :-1], self.place[row] = left.pop(0), self.ring.shape[2] - 1
        if self.history.shape[1]:
            self.history[row, 1:] = left.pop(0)[0]
