"""The states of streams that are decoded side by side.

Dimensions: N streams, L layers, H hidden, A attending layers, W window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import Array, Network

StreamState = tuple[npt.NDArray[Any], ...]
"""State of one stream: the parts of the cells' state, (L, H) each; with attention, also its ring and place."""


class StreamStates:
    """The states of N streams.

    Attributes:
        cells: Parts of the cells' state by name, (N, L, H) each; the first is the layers' output.
        ring: (N, A, W + 1, H): normalized states that attention reads, including the present one.
        place: (N,), the place in the ring of the next state, which replaces the oldest.
    """

    def __init__(self, cells: Mapping[str, Array], ring: Array) -> None:
        self.cells, self.ring = cells, ring
        self.place: npt.NDArray[np.int64] = np.zeros(len(ring), np.int64)
        self._parts: StreamState = tuple(cells.values())
        if ring.shape[1]:
            self._parts += (ring, self.place)

    @classmethod
    def of(cls, network: Network) -> StreamStates:
        """The states of no streams, which :meth:`zeros` extends; the network itself is not kept."""
        windows = [layer.attention.window for layer in network.layers if layer.attention is not None]
        dtype, hidden = network.output_bias.dtype, network.hidden_size
        cells = {name: np.zeros((0, len(network.layers), hidden), dtype) for name in network.cell.state}
        return cls(cells, np.zeros((0, len(windows), max(windows, default=0) + 1, hidden), dtype))

    def zeros(self, count: int) -> StreamStates:
        """Zero states of these shapes, those of the beginning of a text, for `count` streams."""
        *cells, ring = (np.zeros((count, *part.shape[1:]), part.dtype) for part in (*self.cells.values(), self.ring))
        return StreamStates(dict(zip(self.cells, cells, strict=True)), ring)

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
        if self._parts[-1] is self.place and not 0 <= int(state[-1]) < self.ring.shape[2]:
            raise ValueError(f"state: the place must be from 0 to {self.ring.shape[2] - 1}, given {int(state[-1])}")
        for own, part in zip(self._parts, state, strict=True):
            own[row] = part
