"""A text that is written in a row of a batch, character by character with what the model thought of each.

Dimensions: V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.network import Array
from char_rnn.generation.symbols import decoder_of
from char_rnn.playground.batch import Reading
from char_rnn.playground.events import Outbox
from char_rnn.playground.texts import labels


class Generation(Reading):
    """Writes a text into an outbox.

    Args:
        continuation: Of the text asked for.
        vocabulary: The model's.
        outbox: Where `start`, the characters and `done`, or `error`, go.
        alternatives: How many of the likeliest characters come with each.
        unit: The layer and index of the cell whose activation after each character comes with it; ``None`` for none.
        read: Fields of `start` that say what was not read as given.
    """

    def __init__(
        self,
        continuation: GenerationState,
        vocabulary: Vocabulary,
        outbox: Outbox,
        alternatives: int = 0,
        unit: tuple[int, int] | None = None,
        read: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.wants_state = unit is not None
        self._continuation, self._vocabulary, self._outbox = continuation, vocabulary, outbox
        self._facts_of_prime = dict(read)
        self._alternatives, self._unit = min(alternatives, vocabulary.size), unit
        self._began = self._read_at = time.perf_counter()
        self._decoder, self._labels = decoder_of(vocabulary), labels(vocabulary)
        self._unread = deque(np.asarray(continuation.prime).tolist())
        self._of_prime: list[float] = []
        self._entries: deque[dict[str, Any]] = deque()
        self._certain = ""
        self._written = 0
        self._started = False
        if not (self._unread and self.wants_state):
            self._start()
        if self._unread and not (continuation.done and not self.wants_state):
            self.symbol = self._unread.popleft()
        else:
            self._begin()

    @property
    def paused(self) -> bool:
        """Whether the reader lags behind."""
        return self._outbox.full

    def take(self, log_probs: Array, state: Array | None) -> None:
        """Go on with the prime, or draw a character."""
        if state is not None:
            self._note(float(state[self._unit]))
        if self._unread:
            self.symbol = self._unread.popleft()
            return
        if not self._started:
            self._start()
        if not self._continuation.count:
            self._read_at = time.perf_counter()
        if self._continuation.done:
            self._finish()
        else:
            self._draw(self._continuation.choose(log_probs), log_probs)

    def fail(self, message: str) -> None:
        """End the stream with an error."""
        self.ended = True
        self._outbox.put(("error", {"message": message}))

    def _start(self) -> None:
        self._started = True
        prime = self._vocabulary.decode(np.asarray(self._continuation.prime, np.int64))
        data: dict[str, Any] = {"prime": prime, **self._facts_of_prime}
        if self.wants_state:
            data["activations"] = self._of_prime
        self._outbox.put(("start", data))

    def _begin(self) -> None:
        """Begin without a prime: the first symbol is drawn without the model."""
        first = None if self._continuation.done else self._continuation.begin()
        if first is None:
            self._finish()
        else:
            self._draw(first, None)

    def _draw(self, symbol: int, log_probs: Array | None) -> None:
        self.symbol = symbol
        entry: dict[str, Any] = {"text": self._decoder.decode([symbol])}
        log_prob = -math.log(self._vocabulary.size) if log_probs is None else log_probs[symbol]
        entry["probability"] = _probability(log_prob)
        if self._labels[symbol] != entry["text"]:
            entry["symbol"] = self._labels[symbol]
        if self._alternatives:
            entry["alternatives"] = [] if log_probs is None else self._likeliest(log_probs)
        self._entries.append(entry)
        self._certain += self._continuation.text()
        if self.wants_state:
            return  # until the model has read it
        self._release()
        if self._continuation.done:
            self._finish()

    def _note(self, activation: float) -> None:
        """Note what the unit came to at the symbol just read."""
        activation = round(activation, 5)
        if not self._entries:
            self._of_prime.append(activation)
            return
        self._entries[-1]["activation"] = activation
        self._release()

    def _likeliest(self, log_probs: Array) -> list[tuple[str, float]]:
        best = (-log_probs).argsort(kind="stable")[: self._alternatives]
        found = zip(best.tolist(), log_probs[best].tolist(), strict=True)
        return [(self._labels[index], _probability(log_prob)) for index, log_prob in found]

    def _release(self) -> None:
        """Put out the characters of what has become certain."""
        released = []
        while self._entries and len(self._entries[0]["text"]) <= len(self._certain):
            entry = self._entries.popleft()
            self._certain = self._certain[len(entry["text"]) :]
            released.append(("", entry))
        if released:
            self._written += len(released)
            self._outbox.put(*released)

    def _finish(self) -> None:
        self.ended = True
        if self._certain and self._entries:  # a stop text begins within what one symbol completed
            self._entries[0]["text"] = self._certain
            self._release()
        now = time.perf_counter()
        done = {
            "reason": "stop" if self._continuation.stopped else "length",
            "characters": self._written,
            "seconds": round(now - self._began, 4),
            "writing_seconds": round(now - self._read_at, 4),
        }
        self._outbox.put(("done", done))


def _probability(log_prob: float) -> float:
    return round(math.exp(log_prob), 6)
