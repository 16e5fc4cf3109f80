"""What writing needs of a model: `Engine` is one, `TorchEngine` makes a PyTorch module into one.

Dimensions: N streams, T time, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from char_rnn.generation.sampler import Sampler
from char_rnn.sampling.strategies import Floats

Predictions = npt.NDArray[np.floating[Any]]


class Writer(Protocol):
    """Goes on with a text by itself."""

    def __call__(self, symbol: int, temperatures: Floats, /) -> list[int]:
        """Read a symbol and draw the next ones, at least one and at most one for each of some temperatures."""


class Streams(Protocol):
    """Texts that a model reads side by side, numbered from 0."""

    def __len__(self) -> int:
        """Return how many there are."""

    def step(self, symbols: npt.ArrayLike, rows: npt.ArrayLike | None = None) -> Predictions:
        """Read one symbol (N,) in each of some streams (``None``: all); return log-probabilities (N, V), in nats."""

    def feed(self, symbols: npt.ArrayLike, row: int = 0) -> None:
        """Read a text (T,) in one stream."""

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> Writer | None:
        """Return what draws in blocks in stream 0, as by :meth:`step` and `Sampler.choose`, but faster.

        Args:
            sampler: How.
            rng: Advanced as `Sampler.choose` does.

        Returns:
            ``None`` where there is no faster way.
        """

    def state(self, row: int = 0) -> Any:
        """Return a copy of a stream's state."""

    def set_state(self, state: Any, row: int = 0) -> None:
        """Give a stream a state."""


class Predictor(Protocol):
    """A model, ready to predict."""

    vocab_size: int

    def begin(self, count: int = 1) -> Streams:
        """Return streams in the zero state."""


def read(streams: Streams, symbols: npt.NDArray[np.integer[Any]], row: int = 0) -> Predictions:
    """Read a text (T,), T at least 1, in one stream; return the log-probabilities (V,) of what comes next, in nats."""
    streams.feed(symbols[:-1], row)
    prediction: Predictions = streams.step(symbols[-1:], [row])[0]
    return prediction
