"""The states of streams that are decoded side by side.

Dimensions: N streams, L layers, H hidden, A attending layers, W window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.generation.network import Array, Network

StreamState = tuple[npt.NDArray[Any], ...]
"""State of one stream: the parts of the cells' state, (L, H) each; with attention, also its ring and place."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of a network's states.

    Attributes:
        dtype: Type of the numbers.
        names: Parts of the cells' state.
        num_layers: L.
        hidden_size: H.
        windows: W of every attending layer.
    """

    dtype: np.dtype[Any]
    names: tuple[str, ...]
    num_layers: int
    hidden_size: int
    windows: tuple[int, ...]

    @classmethod
    def of(cls, network: Network) -> Shapes:
        """The shapes of a network's states."""
        windows = tuple(layer.attention.window for layer in network.layers if layer.attention is not None)
        sizes = len(network.layers), network.hidden_size
        return cls(network.output_bias.dtype, network.cell.state, *sizes, windows)


class StreamStates:
    """The states of N streams.

    Attributes:
        cells: Parts of the cells' state by name, (N, L, H) each; the first is the layers' output.
        ring: (N, A, W + 1, H): normalized states that attention reads, including the present one.
        place: (N,), the place in the ring of the next state, which replaces the oldest.
    """

    def __init__(self, shapes: Shapes, count: int) -> None:
        dtype, windows = shapes.dtype, shapes.windows
        shape = (count, shapes.num_layers, shapes.hidden_size)
        self.cells: dict[str, Array] = {name: np.zeros(shape, dtype) for name in shapes.names}
        self.ring: Array = np.zeros((count, len(windows), max(windows, default=0) + 1, shapes.hidden_size), dtype)
        self.place: npt.NDArray[np.int64] = np.zeros(count, np.int64)
        self._parts: StreamState = tuple(self.cells.values())
        if windows:
            self._parts += (self.ring, self.place)

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
