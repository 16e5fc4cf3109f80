"""One text being written, whoever computes the predictions.

Dimensions: T time, N texts, V vocabulary.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from char_rnn.generation.predictor import Streams
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.spelling import Unknown, encode_prime
from char_rnn.generation.stopping import StopText
from char_rnn.generation.symbols import Symbols, decoder_of
from char_rnn.sampling.options import LENGTH, SEED, Strategy
from char_rnn.sampling.strategies import Floats, draw_each

Seed = int | np.random.SeedSequence | None


class GenerationState:
    """A text being written: what the model reads first, what is drawn, what may be shown of it, and when it ends.

    What it draws depends on seed, strategy and the log-probabilities alone. A model that reads symbol by symbol writes
    with it so::

        read = continuation.prime.tolist() or [continuation.begin()]
        while not continuation.done:
            for symbol in read:
                log_probs = model.step(symbol)
            read = [continuation.choose(log_probs)]
        print(continuation.text())

    Args:
        symbols: The model's vocabulary.
        prime_text: Text to continue, or the indices (T,) that the model reads of it.
        length: Symbols to add: characters, or bytes for a byte vocabulary.
        strategy: How they are drawn; several texts may share a `Sampler` made of it.
        seed: Seed of the drawing; ``None`` = another text each time.
        stop: End before this text, or the first of these; ``None`` = go on to ``length``.
        stop_at_newline: End before the end of a line, too.
        unknown: What to do with characters of ``prime_text`` that the vocabulary has not: see `spelled`.

    Attributes:
        prime: What the model reads first, indices (T,). If it is empty the first symbol is drawn by :meth:`begin`.
        count: How many symbols have been added.
        done: Whether the text is at its end.

    Raises:
        UnknownCharacterError: ``prime_text`` has a character that the vocabulary has not.
        ValueError: Another argument is out of range.
    """

    def __init__(
        self,
        symbols: Symbols,
        prime_text: str | npt.NDArray[np.int64] = "",
        length: int = 1000,
        strategy: Strategy | Sampler = Strategy(),  # noqa: B008 (frozen)
        *,
        seed: Seed = None,
        stop: str | Sequence[str] | None = None,
        stop_at_newline: bool = False,
        unknown: Unknown = "error",
    ) -> None:
        LENGTH.check("length", length)
        self._rng = _generator(seed)
        self._stop_text = StopText(stop, stop_at_newline, symbols)
        self.sampler = strategy if isinstance(strategy, Sampler) else Sampler(strategy, symbols)
        self.prime: npt.NDArray[np.int64] = (
            prime_text if isinstance(prime_text, np.ndarray) else encode_prime(symbols, prime_text, unknown)
        )
        self.length, self.count, self.done = length, 0, length == 0
        self._decoder = decoder_of(symbols)
        self._undecoded: list[int] = []
        self._pieces: list[str] = []
        window = self.sampler.strategy.repetition_window if self.sampler.is_penalizing else 0
        self._window = deque(self.prime[-window:].tolist(), window)
        self._recent = Counter(self._window)

    @property
    def temperature(self) -> float:
        """That of the next symbol."""
        return self.sampler.strategy.temperature_at(self.count, self.length)

    @property
    def stopped(self) -> bool:
        """Whether it ended before a stop text."""
        return self._stop_text.found

    @property
    def recent(self) -> Collection[int]:
        """The symbols that the repetition penalty is about, each once; none without one."""
        return self._recent.keys()

    def begin(self) -> int | None:
        """Draws the first symbol of a text without a prime, from all alike (temperature 0: takes the first).

        Returns:
            The symbol; ``None``, and nothing is drawn, if there is a prime or the text has begun.
        """
        if len(self.prime) or self.count or self.done:
            return None
        drawable = self.sampler.drawable
        return self.take(int(drawable[0 if self.temperature == 0 else self._rng.integers(len(drawable))]))

    def choose(self, log_probs: npt.ArrayLike) -> int:
        """Draws the next symbol and takes note of it.

        Args:
            log_probs: What the model predicts, (V,), in nats.

        Raises:
            ValueError: ``log_probs`` hold NaN or +inf, or nothing above -inf is left to draw.
        """
        return self.take(self.sampler.choose(log_probs, self.temperature, self._recent, self._rng))

    def writer(self, streams: Streams) -> Callable[[int, int], int]:
        """Returns what draws the next symbols and takes note of them, with streams that have read all but the last.

        It is called with the last symbol and with how many to draw at most. It draws at least one, in stream 0, and
        returns the new last one. Symbols that it draws beyond a stop text count, but never show.
        """
        write = streams.writer(self.sampler, self._rng)
        if write is None:
            return lambda symbol, _: self.choose(streams.step((symbol,))[0])
        return lambda symbol, most: self._take_all(write(symbol, self._temperatures(most)))

    def probabilities(self, log_probs: npt.ArrayLike) -> Floats:
        """What :meth:`choose` would draw from, (V,), without drawing."""
        weights = self.sampler.weights(log_probs, self.temperature, (self._recent,))
        return np.asarray(weights / weights.sum())

    def take(self, symbol: int) -> int:
        """Takes note of a symbol as the next one, whoever chose it."""
        if self._window.maxlen:
            self._remember(symbol)
        return self._take_all([symbol])

    def text(self) -> str:
        """The text that has become certain since the last call; the prime text is no part of it.

        A character is held back until its bytes are whole, and what may be the beginning of a stop text until it is
        none. Bytes at the very end that are no whole character are left out.
        """
        self._decode()
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def _take_all(self, symbols: list[int]) -> int:
        self.count += len(symbols)
        self._undecoded += symbols
        if self._stop_text.stops:
            self._decode()
        if self.count >= self.length and not self.done:
            self.done = True
            self._decode()
            self._pieces.append(self._stop_text.rest())
        return symbols[-1]

    def _temperatures(self, most: int) -> Floats:
        """Those of the next symbols, of so many at most."""
        strategy, places = self.sampler.strategy, range(self.count, min(self.count + most, self.length))
        if strategy.final_temperature is None:
            return np.full(len(places), strategy.temperature, np.float64)
        return np.array([strategy.temperature_at(place, self.length) for place in places])

    def _remember(self, symbol: int) -> None:
        if len(self._window) == self._window.maxlen:
            oldest = self._window.popleft()
            self._recent[oldest] -= 1
            if not self._recent[oldest]:
                del self._recent[oldest]
        self._window.append(symbol)
        self._recent[symbol] += 1

    def _decode(self) -> None:
        if not self._stop_text.found:
            self._pieces.append(self._stop_text.feed(self._decoder.decode(self._undecoded)))
            self.done = self.done or self._stop_text.found
        self._undecoded.clear()


def choose_together(continuations: Sequence[GenerationState], log_probs: npt.NDArray[np.floating]) -> list[int]:
    """`GenerationState.choose` for texts that share a `Sampler` and are equally long so far, faster than one by one.

    Args:
        continuations: N of them.
        log_probs: (N, V), in nats.

    Returns:
        The N symbols, the same as they would have been alone.
    """
    first = continuations[0]
    weights = first.sampler.weights(log_probs, first.temperature, [text.recent for text in continuations])
    drawn = draw_each(weights, [text._rng.random() for text in continuations])
    return [text.take(symbol) for text, symbol in zip(continuations, drawn, strict=True)]


def seed_of_sample(seed: int | None, sample: int) -> np.random.SeedSequence:
    """Seed of one of several samples: that of sample 0 is ``seed`` itself, and none depends on how many there are.

    Without a seed it is another each time.
    """
    SEED.check("seed", seed)
    return np.random.SeedSequence(seed) if sample == 0 else np.random.SeedSequence(seed, spawn_key=(sample,))


def _generator(seed: Seed) -> np.random.Generator:
    if not isinstance(seed, np.random.SeedSequence):
        SEED.check("seed", seed)
    return np.random.default_rng(seed)
