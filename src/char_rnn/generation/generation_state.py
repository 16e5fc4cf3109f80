"""Texts being written, alone or side by side, whatever computes the predictions.

A text ends before a stop text, of which nothing is shown, not even its beginning; or with it. Source: Knuth, Morris
and Pratt 1977, "Fast Pattern Matching in Strings": the cost of a character does not depend on the length of the stop
texts.

Dimensions: T time, N texts, V vocabulary.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Predictor, PredictorStreams
from char_rnn.generation.sampler import Sampler
from char_rnn.generation.unknown_characters import Unknown, canonical, encode_prime
from char_rnn.sampling.options import LENGTH, SEED, Strategy
from char_rnn.sampling.strategies import Floats, draw_each


class StopText:
    """Passes text on, piece by piece, until a stop text appears.

    Args:
        stop: Text to end before, or several; ``None`` = pass everything on. Of several, the one that is complete first
            counts, and the longest of those.
        at_newline: End before a line end, too.
        vocabulary: Stop texts are brought to its Unicode normal form, and its line end is used; ``None`` = the texts as
            given, and ``\\n``.
        keep: Pass the stop text on, too.

    Attributes:
        stops: All these texts.
        found: Whether a stop text has appeared.

    Raises:
        ValueError: A stop text is empty.
    """

    def __init__(
        self,
        stop: str | Sequence[str] | None,
        at_newline: bool = False,
        vocabulary: Vocabulary | None = None,
        *,
        keep: bool = False,
    ) -> None:
        stops = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(text, str) and text for text in stops):
            raise ValueError("stop: must be a text of at least one character, or None to write the full length")
        if vocabulary is not None:
            stops = tuple(canonical(vocabulary, text) for text in stops)
        end = ("\n" if vocabulary is None else vocabulary.line_end) if at_newline else None
        self.stops = stops + (("\n", "\r\n") if end == "\n" else (end,) if end else ())
        self._borders = [_borders(text) for text in self.stops]
        self._matched = [0] * len(self.stops)  # length of the longest beginning of each that the text ends with
        self._held, self._keep = "", keep
        self.found = False

    def feed(self, piece: str) -> str:
        """Take the next piece; return what can no longer be part of a stop text."""
        if not self.stops:
            return piece
        for place, character in enumerate(piece, 1):
            if ended := self._advance(character):
                text = self._held + piece[:place]
                self._held, self.found = "", True
                self._matched = [0] * len(self.stops)
                return text if self._keep else text[: len(text) - ended]
        text = self._held + piece
        decided = len(text) if self._keep else len(text) - max(self._matched)
        self._held = text[decided:]
        return text[:decided]

    def rest(self) -> str:
        """The text still held back when the text ends without a stop text."""
        held, self._held = self._held, ""
        return held

    def _advance(self, character: str) -> int:
        """Read a character; return the length of the longest stop text that it completes, or 0."""
        ended = 0
        for number, stop in enumerate(self.stops):
            matched = self._matched[number]
            while matched and stop[matched] != character:
                matched = self._borders[number][matched - 1]
            if stop[matched] == character:
                matched += 1
            self._matched[number] = matched
            if matched == len(stop):
                ended = max(ended, matched)
        return ended


def _borders(stop: str) -> list[int]:
    """For each beginning of ``stop``, the length of its longest proper end that ``stop`` begins with."""
    borders = [0]
    for character in stop[1:]:
        length = borders[-1]
        while length and stop[length] != character:
            length = borders[length - 1]
        borders.append(length + (stop[length] == character))
    return borders


Seed = int | np.random.SeedSequence | None


class GenerationState:
    """A text being written: the prime, the sampler, the finished part, and whether the text has ended.

    The symbols depend on seed, strategy and log-probabilities only. A model that reads symbol by symbol writes with it
    so::

        read = state.prime.tolist() or [state.begin()]
        while not state.done:
            for symbol in read:
                log_probs = model.step(symbol)
            read = [state.choose(log_probs)]
        print(state.text())

    Args:
        vocabulary: The model's vocabulary.
        prime_text: Text to continue, or its indices (T,).
        length: Symbols to add: characters, or bytes for a byte vocabulary.
        strategy: The sampling strategy; several texts may share a `Sampler` made from it.
        seed: Seed of the random numbers; ``None`` = a different text each time.
        stop: End before this text, or the first of these; ``None`` = write ``length`` symbols.
        stop_at_newline: End before a line end, too.
        keep_stop: End with the stop text instead of before it.
        unknown: Treatment of prime characters that the vocabulary lacks; see `spelled`.

    Attributes:
        prime: Indices (T,) that the model reads first. If there are none, :meth:`begin` draws the first symbol.
        count: Number of symbols added.
        done: Whether the text has ended.

    Raises:
        UnknownCharacterError: ``prime_text`` has an unknown character.
        ValueError: Another argument is out of range.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        prime_text: str | npt.NDArray[np.int64] = "",
        length: int = 1000,
        strategy: Strategy | Sampler = Strategy(),  # noqa: B008 (frozen)
        *,
        seed: Seed = None,
        stop: str | Sequence[str] | None = None,
        stop_at_newline: bool = False,
        keep_stop: bool = False,
        unknown: Unknown = "error",
    ) -> None:
        LENGTH.check("length", length)
        if not isinstance(seed, np.random.SeedSequence):
            SEED.check("seed", seed)
        self._rng = np.random.default_rng(seed)
        self._stop_text = StopText(stop, stop_at_newline, vocabulary, keep=keep_stop)
        self.sampler = strategy if isinstance(strategy, Sampler) else Sampler(strategy, vocabulary)
        self.prime: npt.NDArray[np.int64] = (
            prime_text if isinstance(prime_text, np.ndarray) else encode_prime(vocabulary, prime_text, unknown)
        )
        self.length, self.count, self.done = length, 0, length == 0
        self._decoder = vocabulary.decoder()
        self._undecoded: list[int] = []
        self._pieces: list[str] = []
        window = self.sampler.strategy.repetition_window if self.sampler.is_penalizing else 0
        self._window = deque(self.prime[-window:].tolist(), window)
        self._recent = Counter(self._window)

    @property
    def temperature(self) -> float:
        """Temperature of the next symbol."""
        return self.sampler.strategy.temperature_at(self.count, self.length)

    @property
    def stopped(self) -> bool:
        """Whether the text ended at a stop text."""
        return self._stop_text.found

    @property
    def recent(self) -> Collection[int]:
        """The symbols that the repetition penalty applies to, each once; none without a penalty."""
        return self._recent.keys()

    def begin(self) -> int | None:
        """Draw the first symbol of a text without a prime from the uniform distribution (temperature 0: the first).

        Returns:
            The symbol; ``None``, and nothing is drawn, if there is a prime or the text has begun.
        """
        if len(self.prime) or self.count or self.done:
            return None
        drawable = self.sampler.drawable
        return self.take(int(drawable[0 if self.temperature == 0 else self._rng.integers(len(drawable))]))

    def choose(self, log_probs: npt.ArrayLike) -> int:
        """Draw the next symbol and add it.

        Args:
            log_probs: The model's prediction, (V,), in nats.

        Raises:
            PredictionError: ``log_probs`` has a NaN or +inf, or no symbol can be drawn.
        """
        return self.take(self.sampler.choose(log_probs, self.temperature, self._recent, self._rng))

    def writer(self, streams: PredictorStreams) -> Callable[[int, int], int]:
        """A function that draws and adds the next symbols, with streams that have read all symbols but the last.

        Its arguments are the last symbol and the largest number of symbols to draw. It draws at least one, in stream 0,
        and returns the last. Symbols drawn after a stop text are counted, but not shown.
        """
        write = streams.writer(self.sampler, self._rng)
        if write is None:
            return lambda symbol, _: self.choose(streams.step((symbol,))[0])
        return lambda symbol, most: self._take_all(write(symbol, self._temperatures(most)))

    def probabilities(self, log_probs: npt.ArrayLike) -> Floats:
        """The distribution (V,) that :meth:`choose` draws from."""
        weights = self.sampler.weights(log_probs, self.temperature, (self._recent,))
        return np.asarray(weights / weights.sum())

    def take(self, symbol: int) -> int:
        """Add a symbol, whoever chose it."""
        if self._window.maxlen:
            self._remember(symbol)
        return self._take_all([symbol])

    def text(self) -> str:
        """The text that has become certain since the last call, without the prime.

        A character is held back until its bytes are complete, and the beginning of a stop text until it turns out not
        to be one. Incomplete bytes at the very end are left out.
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
        """Temperatures of the next symbols, at most `most`."""
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


def choose_together(states: Sequence[GenerationState], log_probs: npt.NDArray[np.floating]) -> list[int]:
    """`GenerationState.choose` for N texts of equal length that share a `Sampler`: the same symbols, faster.

    Args:
        states: N of them.
        log_probs: (N, V), in nats.
    """
    first = states[0]
    weights = first.sampler.weights(log_probs, first.temperature, [state.recent for state in states])
    drawn = draw_each(weights, [state._rng.random() for state in states])
    return [state.take(symbol) for state, symbol in zip(states, drawn, strict=True)]


def write_together(model: Predictor, states: Sequence[GenerationState]) -> None:
    """Write N texts to their ends, each as it would be alone.

    They share a length and a `Sampler`. Texts that share the array of their prime read it once.
    """
    if states[0].done:
        return
    streams = model.begin(len(states))
    symbols = _first_symbols(streams, states)
    live = list(range(len(states)))
    while live := [row for row in live if not states[row].done]:
        predictions = streams.step([symbols[row] for row in live], live)
        drawn = choose_together([states[row] for row in live], predictions)
        for row, symbol in zip(live, drawn, strict=True):
            symbols[row] = symbol


def _first_symbols(streams: PredictorStreams, states: Sequence[GenerationState]) -> list[int]:
    """Read each prime once, and draw the first symbol of each text."""
    primes = {id(state.prime): state.prime for state in states}
    rows = {prime: row for row, prime in enumerate(primes)}  # the streams that read them
    sources = [rows[id(state.prime)] for state in states]
    streams.feed_each([prime[:-1] for prime in primes.values()])
    ends = {row: prime[-1] for row, prime in enumerate(primes.values()) if len(prime)}
    predictions = dict(zip(ends, streams.step(list(ends.values()), list(ends)), strict=True)) if ends else {}
    for row in reversed(range(len(states))):  # a text is never in a stream before that which reads its prime
        streams.set_state(streams.state(sources[row]), row)
    symbols = {row: symbol for row, state in enumerate(states) if (symbol := state.begin()) is not None}
    if primed := [row for row in range(len(states)) if row not in symbols]:
        log_probs = np.stack([predictions[sources[row]] for row in primed])
        symbols |= zip(primed, choose_together([states[row] for row in primed], log_probs), strict=True)
    return [symbols[row] for row in range(len(states))]


def seed_of_sample(seed: int | None, sample: int) -> np.random.SeedSequence:
    """Seed of one of several samples; that of sample 0 is ``seed`` itself, and none depends on their number."""
    SEED.check("seed", seed)
    return np.random.SeedSequence(seed) if sample == 0 else np.random.SeedSequence(seed, spawn_key=(sample,))
