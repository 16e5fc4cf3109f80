"""The interface to a model that predicts: `Engine`, or `TorchEngine` for a PyTorch model.

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
    """Draws the next symbols of a text in blocks."""

    def __call__(self, symbol: int, temperatures: Floats, /) -> list[int]:
        """Read a symbol and draw the next ones, at least one and at most one for each temperature."""


class PredictorStreams(Protocol):
    """Texts that a model reads side by side, numbered from 0."""

    def __len__(self) -> int:
        """Number of streams."""

    def step(self, symbols: npt.ArrayLike, rows: npt.ArrayLike | None = None) -> Predictions:
        """Read one symbol (N,) in each of some streams (``None``: all); return log-probabilities (N, V), in nats."""

    def feed(self, symbols: npt.ArrayLike, row: int = 0) -> None:
        """Read a text (T,) in one stream."""

    def writer(self, sampler: Sampler, rng: np.random.Generator) -> Writer | None:
        """A faster way to draw in stream 0 than :meth:`step` and `Sampler.choose`, with the same symbols.

        It advances `rng` as `Sampler.choose` does. ``None`` = there is none.
        """

    def state(self, row: int = 0) -> Any:
        """A copy of a stream's state."""

    def set_state(self, state: Any, row: int = 0) -> None:
        """Set a stream's state."""


class Predictor(Protocol):
    """A model, ready to predict."""

    vocab_size: int

    def begin(self, count: int = 1) -> PredictorStreams:
        """Make streams in the zero state."""


def read(streams: PredictorStreams, symbols: npt.NDArray[np.integer[Any]], row: int = 0) -> Predictions:
    """Read a text (T,), T at least 1, in one stream; return log-probabilities (V,) of the next symbol, in nats."""
    streams.feed(symbols[:-1], row)
    prediction: Predictions = streams.step(symbols[-1:], [row])[0]
    return prediction
