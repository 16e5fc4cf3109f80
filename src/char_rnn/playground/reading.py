"""Texts that a model only reads, and what is kept of them; and the text that it writes to be looked at.

Dimensions: T symbols, V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np

from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.network import Array
from char_rnn.playground.batch import Reading


class UnfinishedError(Exception):
    """A reading that came to no end; the message says why."""


class Recording(Reading):
    """Reads symbols, and keeps something of each.

    Args:
        symbols: (T,), at least one.

    Attributes:
        result: What is kept of each symbol, a list of T, as soon as all are read.
    """

    def __init__(self, symbols: Sequence[int]) -> None:
        self.symbols = list(symbols)
        self.symbol = self.symbols[0]
        self.result: Future[list[Any]] = Future()
        self._kept: list[Any] = []
        self._read = 0

    def take(self, log_probs: Array, state: Array | None) -> None:
        """Keep what is wanted, and go on to the next symbol."""
        self._read += 1
        self.note(log_probs, state)
        if self._read < len(self.symbols):
            self.symbol = self.symbols[self._read]
            return
        self.ended = True
        self._resolve(self.result.set_result, self._kept)

    @abstractmethod
    def note(self, log_probs: Array, state: Array | None) -> None:
        """Keep something of the symbol that was read."""

    def fail(self, message: str) -> None:
        """Raise `UnfinishedError` where the result is waited for."""
        self._resolve(self.result.set_exception, UnfinishedError(message))

    def _resolve(self, how: Callable[[Any], None], value: Any) -> None:
        with suppress(Exception):  # it was cancelled at this moment
            how(value)


class Scoring(Recording):
    """Keeps the log-probability of each symbol; the first is one of V, as when a text is begun."""

    def __init__(self, symbols: Sequence[int], vocab_size: int) -> None:
        super().__init__(symbols)
        self._kept = [-math.log(vocab_size)]

    def note(self, log_probs: Array, state: Array | None) -> None:
        """Keep the prediction of the next symbol."""
        if self._read < len(self.symbols):
            self._kept.append(float(log_probs[self.symbols[self._read]]))


class States(Recording):
    """Keeps h: all of it, of one layer (H,), or of one unit."""

    wants_state = True

    def __init__(self, symbols: Sequence[int], layer: int | None = None, unit: int | None = None) -> None:
        super().__init__(symbols)
        self._place = () if layer is None else (layer,) if unit is None else (layer, unit)

    def note(self, log_probs: Array, state: Array | None) -> None:
        """Keep this part of the state."""
        assert state is not None
        self._kept.append(state[self._place].copy())


class Sample(States):
    """Writes a text, and keeps all h on the way."""

    def __init__(self, continuation: GenerationState) -> None:
        first = continuation.begin()
        super().__init__(np.append(continuation.prime, [] if first is None else [first]).astype(int).tolist())
        self._continuation = continuation

    def take(self, log_probs: Array, state: Array | None) -> None:
        """Draw what follows the last symbol."""
        if self._read + 1 == len(self.symbols) and not self._continuation.done:
            self.symbols.append(self._continuation.choose(log_probs))
        super().take(log_probs, state)
