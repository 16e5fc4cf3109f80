"""The texts that a scheduler computes: written for a client, or read for their predictions and states.

Dimensions: T symbols, V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import base64
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.network import Array
from char_rnn.generation.scored_text import likeliest
from char_rnn.playground.messages import PACE, ApiError, Outbox
from char_rnn.playground.scheduler import TextJob

SECONDS_BETWEEN_STATES = PACE
LEAST_LOG_PROB = -9999.0  # sent instead of minus infinity, which JSON lacks
LARGEST_LEVEL = 127  # of an activation in 8 bits: a pixel of a heat map needs no more

Record = Callable[[int, Array, Array | None], Any]


class WriteJob(TextJob):
    """Writes a text into an outbox: an event `start` with these fields, the characters, and `done` or `error`.

    Args:
        text: The text to write.
        vocabulary: The model's vocabulary.
        outbox: Outbox of the client.
        start: Fields of the event `start`.
        alternatives: Number of likeliest symbols to send with each character.
        unit: Cell (layer, index) whose activation is sent with each character.
        states: Send the activations of all cells, with the last character and one in `SECONDS_BETWEEN_STATES`.
        scores: Send log-probabilities (nats) instead of probabilities.
        prime_scores: Send those of the prime's symbols after the first, with their alternatives, in `start`.
        number: Number of the text, for several texts that share an outbox.
    """

    def __init__(
        self,
        text: GenerationState,
        vocabulary: Vocabulary,
        outbox: Outbox,
        start: Mapping[str, Any] = MappingProxyType({}),
        *,
        alternatives: int = 0,
        unit: tuple[int, int] | None = None,
        states: bool = False,
        scores: bool = False,
        prime_scores: bool = False,
        number: int = 0,
    ) -> None:
        self.wants_state = unit is not None
        self._text, self._outbox, self._number = text, outbox, number
        self._alternatives, self._unit = min(alternatives, vocabulary.size), unit
        self._field, self._rounded = ("log_prob", _log_probability) if scores else ("probability", probability)
        self._needs_reading = states or unit is not None  # a character waits for the state after it
        self._states, self._states_sent = states, -math.inf
        self._sends_states = False  # with the character drawn last
        self._began = self._prime_read = time.perf_counter()
        self._labels, decoder = vocabulary.labels, vocabulary.decoder()
        self._decode: Callable[[int], str] = self._labels.__getitem__  # several times as fast as the decoder
        if vocabulary.kind == "bytes":
            self._decode = lambda symbol: decoder.decode([symbol])
        self._unread = deque(text.prime.tolist())
        self._start: Mapping[str, Any] | None = start
        self._prime_activations: list[float] = []
        self._prime_scores: list[tuple[float, list[tuple[str, float]]]] | None = [] if prime_scores else None
        self._entries: deque[dict[str, Any]] = deque()  # characters drawn, not yet sent
        self._certain = ""  # text that no stop text can take back, of these characters
        self._written = 0
        if (self.wants_state or prime_scores) and self._unread:
            self.symbol = self._unread.popleft()
            return
        self._send_start()
        if self._unread and not text.done:
            self.symbol = self._unread.popleft()
        elif text.done:
            self._finish()
        else:  # the first symbol of a text without a prime is drawn without the model
            first = text.begin()
            assert first is not None
            self._draw(first, None)

    @property
    def paused(self) -> bool:
        """Whether the client lags behind."""
        return self._outbox.full

    def take(self, log_probs: Array, state: Array | None) -> None:
        """Go on with the prime, or draw a character."""
        if state is not None:
            self._note(state)
        if self._needs_reading:
            self._release()
        if self._unread:
            self.symbol = self._unread.popleft()
            if self._prime_scores is not None:
                self._prime_scores.append((self._rounded(log_probs[self.symbol]), self._likeliest(log_probs)))
            return
        self._send_start()
        if not self._text.count:
            self._prime_read = time.perf_counter()
        if self._text.done:
            self._finish()
        else:
            self._draw(self._text.choose(log_probs), log_probs)

    def fail(self, message: str) -> None:
        """End the stream with an error."""
        self.ended = True
        self._outbox.put(("error", {"message": message}, self._number))

    def _send_start(self) -> None:
        if self._start is not None:
            activations = {"activations": self._prime_activations} if self._unit else {}
            scores = {} if self._prime_scores is None else {"scores": self._prime_scores}
            self._outbox.put(("start", {**self._start, **activations, **scores}, self._number))
            self._start = None

    def _draw(self, symbol: int, log_probs: Array | None) -> None:
        """Enter a drawn character; without the model all symbols are equally likely."""
        self.symbol = symbol
        log_prob = -math.log(len(self._labels)) if log_probs is None else log_probs[symbol]
        entry: dict[str, Any] = {"text": self._decode(symbol), self._field: self._rounded(log_prob)}
        if self._labels[symbol] != entry["text"]:
            entry["symbol"] = self._labels[symbol]
        if self._alternatives:
            entry["alternatives"] = [] if log_probs is None else self._likeliest(log_probs)
        self._entries.append(entry)
        self._certain += self._text.text()
        if self._states:
            self._choose_state()
        if not self._needs_reading:
            self._release()
            if self._text.done:
                self._finish()

    def _choose_state(self) -> None:
        """Decide whether the character drawn last is sent with all activations."""
        now = time.perf_counter()
        self._sends_states = self._text.done or now - self._states_sent >= SECONDS_BETWEEN_STATES
        if self._sends_states:
            self._states_sent = now
        self.wants_state = self._sends_states or self._unit is not None

    def _note(self, state: Array) -> None:
        """Enter the activations after the symbol just read."""
        activation = round(float(state[self._unit]), 5) if self._unit else 0.0
        if not self._entries:
            self._prime_activations.append(activation)
            return
        if self._unit:
            self._entries[-1]["activation"] = activation
        if self._sends_states:
            self._entries[-1]["states"] = packed(state)

    def _likeliest(self, log_probs: Array) -> list[tuple[str, float]]:
        found = likeliest(self._labels, log_probs, self._alternatives)
        return [(label, self._rounded(log_prob)) for label, log_prob in found]

    def _release(self) -> None:
        """Send the characters whose text has become certain."""
        released = []
        while self._entries and len(self._entries[0]["text"]) <= len(self._certain):
            entry = self._entries.popleft()
            self._certain = self._certain[len(entry["text"]) :]
            released.append(("", entry, self._number))
        if released:
            self._written += len(released)
            self._outbox.put(*released)

    def _finish(self) -> None:
        self.ended = True
        if self._certain and self._entries:  # a stop text begins within the text of one symbol
            self._entries[0]["text"] = self._certain
            self._release()
        now = time.perf_counter()
        done = {
            "reason": "stop" if self._text.stopped else "length",
            "characters": self._written,
            "seconds": round(now - self._began, 4),
            "writing_seconds": round(now - self._prime_read, 4),
        }
        self._outbox.put(("done", done, self._number))


def probability(log_prob: float) -> float:
    """Return a probability as it is sent, from its logarithm."""
    return round(math.exp(log_prob), 6)


def packed(states: Array) -> dict[str, Any]:
    """Return the activations (..., L, H) of all cells, in 8 bits, as the fields of `schema.States`."""
    scale = max(1.0, float(np.abs(states).max(initial=0)))
    levels = np.rint(states * (LARGEST_LEVEL / scale)).astype(np.int8)
    return {"scale": scale, "values": base64.b64encode(levels.tobytes()).decode()}


def _log_probability(log_prob: float) -> float:
    return round(max(float(log_prob), LEAST_LOG_PROB), 5)


class ReadJob(TextJob):
    """Reads symbols (T,), at least one, and calls `record(count, log_probs, state)` after each, with the count so far.

    Attributes:
        result: The T records, when all symbols are read; or `ApiError`.
    """

    def __init__(self, symbols: Sequence[int], record: Record, *, wants_state: bool = False) -> None:
        self.symbols, self.wants_state = list(symbols), wants_state
        self.symbol = self.symbols[0]
        self.result: Future[list[Any]] = Future()
        self._record, self._records = record, list[Any]()

    def take(self, log_probs: Array, state: Array | None) -> None:
        """Record, and go on to the next symbol."""
        count = len(self._records) + 1
        self._records.append(self._record(count, log_probs, state))
        if count < len(self.symbols):
            self.symbol = self.symbols[count]
        else:
            self.ended = True
            self._resolve(self.result.set_result, self._records)

    def fail(self, message: str) -> None:
        """Raise `ApiError` for whoever waits for the result."""
        self._resolve(self.result.set_exception, ApiError(503, message))

    def _resolve(self, how: Callable[[Any], None], value: Any) -> None:
        with suppress(Exception):  # the future was cancelled at this moment
            how(value)


def scores(symbols: Sequence[int]) -> Record:
    """Record the log-probability of the next of these symbols; after the last, those of all symbols (V,)."""
    return lambda count, log_probs, _: float(log_probs[symbols[count]]) if count < len(symbols) else log_probs.copy()


def states(part: tuple[int, ...] = (), after: int = 0) -> Record:
    """Record h: of all layers (L, H), of one `(layer,)`, or of one unit `(layer, index)`; ``None`` up to a count."""

    def record(count: int, _log_probs: Array, state: Array | None) -> Any:
        assert state is not None
        return state[part].copy() if count > after else None

    return record
