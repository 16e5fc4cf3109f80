"""Finds the cells of a model that track features, in texts that it writes side by side.

Dimensions: N texts, T symbols of each, L layers, H hidden.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState, choose_together, seed_of_sample
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.tracking_cells import TrackingCell, best_cells
from char_rnn.playground.messages import ApiError
from char_rnn.playground.scheduler import CLOSING, DIVERGED
from char_rnn.sampling.options import Strategy
from char_rnn.sampling.strategies import PredictionError

SAMPLE = (1000, 4000)  # smallest and largest number of symbols to find cells in
NUMBERS = 4_000_000  # largest number of activations, within these limits
TEXTS = 8  # side by side, which takes a sixth of the time of one long text
STRATEGY = Strategy(temperature=0.8)


class CellFinder:
    """The cells of one model, found at the first request and cached.

    The texts have streams of their own, so they do not slow down the requests that share the scheduler's steps.
    """

    def __init__(self, engine: Engine, vocabulary: Vocabulary) -> None:
        self._engine, self._vocabulary = engine, vocabulary
        self._finding: asyncio.Task[list[TrackingCell]] | None = None
        self._closing = threading.Event()

    async def cells(self) -> list[TrackingCell]:
        """Find the cells, or return those found before; a cancelled caller does not stop the search.

        Raises:
            ApiError: The model predicts NaN, or the finder is closed.
        """
        if self._finding is None:
            self._finding = asyncio.ensure_future(asyncio.to_thread(self._find))
            self._finding.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._finding)

    @property
    def searching(self) -> bool:
        """Whether a search has begun and not ended."""
        return self._finding is not None and not self._finding.done()

    def close(self) -> None:
        """Stop the search after its present step."""
        self._closing.set()

    def _find(self) -> list[TrackingCell]:
        texts, states = [], []
        for symbols, hidden in zip(*self._write(), strict=True):
            text, ends = aligned(self._vocabulary, symbols)
            texts.append(text)
            states.append(hidden[ends])
        return best_cells(texts, np.concatenate(states))

    def _write(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Write texts: symbols (N, T), and h (N, T, L, H) after each."""
        streams, sampler = self._engine.begin(TEXTS), Sampler(STRATEGY, self._vocabulary)
        shape = streams.hidden().shape
        length = min(SAMPLE[1], max(SAMPLE[0], NUMBERS // math.prod(shape))) // TEXTS
        texts = [
            GenerationState(self._vocabulary, "", length, sampler, seed=seed_of_sample(0, row)) for row in range(TEXTS)
        ]
        now: Sequence[int] = [text.begin() or 0 for text in texts]
        symbols = np.empty((TEXTS, length), np.int64)
        states = np.empty((TEXTS, length, *shape), np.float32)
        for place in range(length):
            if self._closing.is_set():
                raise ApiError(503, CLOSING)
            log_probs = streams.step(now)
            symbols[:, place] = now
            states[:, place] = [streams.hidden(row) for row in range(TEXTS)]
            try:
                now = choose_together(texts, log_probs)
            except PredictionError:
                raise ApiError(503, DIVERGED) from None
        return symbols, states


def aligned(vocabulary: Vocabulary, symbols: npt.NDArray[np.int64]) -> tuple[str, npt.NDArray[np.int64]]:
    """Return the text (T characters) of symbols (N,), and the index (T,) of the last symbol of each character."""
    if vocabulary.kind == "characters":
        return vocabulary.decode(symbols), np.arange(len(symbols))
    decoder = vocabulary.decoder()
    pieces = [decoder.decode([index]) for index in symbols.tolist()]
    return "".join(pieces), np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
