"""Text as the programs of 2015 and 2016 sample it: sample.lua of char-rnn, and torch-rnn's.

Both divide the prediction by the temperature, exponentiate it as it is (no maximum is subtracted), divide by the sum
taken from left to right, and draw by Torch7's multinomial, one 32-bit word a symbol:

=============  =====================================  =============================================
..             char-rnn                               torch-rnn
=============  =====================================  =============================================
prediction     log-probabilities                      scores, before the softmax
temperature    divides in float64                     divides in float32
probabilities  rounded to float32                     float64
no prime       the first symbol is drawn uniformly    likewise
length         symbols after the prime                symbols in all, the prime's among them
=============  =====================================  =============================================

Dimensions: V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Array
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_tensors
from char_rnn.torch7.random import Generator

Choose = Callable[[Array], int]
Predict = Callable[[int], Array]
LOWEST_TEMPERATURE = 1e-30  # below it a prediction divided by the temperature leaves the range of single precision


def sample_torch7(
    file: ModelFile,
    *,
    prime: bytes = b"",
    length: int = 2000,
    temperature: float = 1.0,
    seed: int = 123,
    argmax: bool = False,
) -> Iterator[bytes]:
    """Samples as char-rnn's sample.lua does, on the CPU in double precision.

    Args:
        file: The model.
        prime: What is continued, and put out first. The first symbol after an empty one is drawn uniformly.
        length: Symbols to add.
        temperature: Divides the log-probabilities.
        seed: Seed of Torch7's generator.
        argmax: Take the likeliest symbol, of equals the first, and draw nothing.

    Yields:
        The prime, if there is one, then each symbol as bytes.

    Raises:
        UnknownCharacterError: `prime` has a symbol that the vocabulary has not.
        ValueError: An argument is out of range, or (while sampling) no symbol has a usable probability.
    """
    if length < 0:
        raise ValueError(f"length: must be 0 or more; given {length}")
    _check_temperature(temperature, argmax)
    generator = Generator(seed)

    def draw(log_probs: Array) -> int:
        values = np.exp(log_probs / temperature)
        return generator.multinomial(_normalized(values, temperature).astype(np.float32))

    writer = _Writer(file, prime)
    first = np.full(file.vocabulary.size, 1 / file.vocabulary.size)
    return writer.write(length, writer.log_probs, first, _greedy if argmax else draw)


def sample_torch_rnn(
    file: ModelFile,
    *,
    prime: bytes = b"",
    length: int = 2000,
    temperature: float = 1.0,
    seed: int = 123,
    argmax: bool = False,
) -> Iterator[bytes]:
    """Samples as torch-rnn's ``LanguageModel:sample`` does after ``torch.manualSeed(seed)``, which it calls nowhere.

    A prime of characters beyond ASCII is read by characters; torch-rnn reads it by bytes and fails. The network runs in
    double precision, where torch-rnn's own runs in single.

    Args:
        file: The model.
        prime: What is continued, and put out first. The first symbol after an empty one is drawn uniformly.
        length: Symbols in all, those of the prime among them.
        temperature: Divides the scores.
        seed: Seed of Torch7's generator.
        argmax: Take the likeliest symbol, of equals the first, and draw nothing.

    Yields:
        The prime, if there is one, then each symbol as bytes.

    Raises:
        UnknownCharacterError: `prime` has a symbol that the vocabulary has not.
        ValueError: An argument is out of range, or (while sampling) no symbol has a usable probability.
    """
    writer = _Writer(file, prime)
    if length < max(1, len(writer.indices)):
        raise ValueError(
            f"length: must be at least {max(1, len(writer.indices))}, as torch-rnn counts the prime's symbols too;"
            f" given {length}"
        )
    _check_temperature(temperature, argmax)
    generator = Generator(seed)

    def draw(scores: Array) -> int:
        with np.errstate(over="ignore"):
            values = np.exp(np.divide(scores, temperature, dtype=np.float32), dtype=np.float64)
        return generator.multinomial(_normalized(values, temperature))

    rest = length - len(writer.indices)
    return writer.write(rest, writer.scores, np.ones(file.vocabulary.size), _greedy if argmax else draw)


class _Writer:
    """A model, its symbols as bytes, and a prime that is made of them.

    Raises:
        UnknownCharacterError: The prime is not.
        ValueError: The file's tensors are not the model that its configuration and vocabulary describe.
    """

    def __init__(self, file: ModelFile, prime: bytes) -> None:
        check_tensors(file.config.model, file.vocabulary.size, file.tensors)
        self._streams = Engine(file.config.model, file.tensors, "float64").begin()
        self.prime = prime
        self.indices: list[int] = file.vocabulary.encode(prime).tolist()
        self._symbols = _symbols(file.vocabulary)

    def log_probs(self, index: int) -> Array:
        """Reads a symbol; returns the log-probabilities (V,) of the next."""
        log_probs: Array = self._streams.step([index])[0]
        return log_probs

    def scores(self, index: int) -> Array:
        """As `log_probs`, but the scores that they are made of."""
        scores: Array = self._streams.scores([index])[0]
        return scores

    def write(self, length: int, predict: Predict, first: Array, choose: Choose) -> Iterator[bytes]:
        """Yields the prime and ``length`` symbols more; ``first`` is the prediction where there is no prime."""
        if self.prime:
            yield self.prime
        if length == 0:
            return
        if self.indices:
            self._streams.feed(self.indices[:-1])
            first = predict(self.indices[-1])
        index = choose(first)
        yield self._symbols[index]
        for _ in range(length - 1):
            index = choose(predict(index))
            yield self._symbols[index]


def _symbols(vocabulary: Vocabulary) -> list[bytes]:
    """Each symbol of a vocabulary as bytes, characters in UTF-8."""
    if vocabulary.kind == "bytes":
        return [bytes([symbol]) for symbol in vocabulary.symbols]
    return [chr(symbol).encode() for symbol in vocabulary.symbols]


def _check_temperature(temperature: float, argmax: bool) -> None:
    if not argmax and not LOWEST_TEMPERATURE <= temperature < math.inf:
        raise ValueError(
            f"temperature: must be {LOWEST_TEMPERATURE:g} or more to sample as in 2015; given {temperature:g}"
            " (-sample 0 takes the likeliest symbol each time)"
        )


def _greedy(prediction: Array) -> int:
    return int(prediction.argmax())


def _normalized(values: Array, temperature: float) -> Array:
    """Divide what was exponentiated (V,) by its sum, in place.

    Raises:
        ValueError: All of it has come to 0, or it holds infinity or what is no number.
    """
    total = float(np.add.accumulate(values)[-1])
    if not 0 < total < math.inf:
        raise ValueError(
            f"temperature {temperature:g}: no symbol keeps a usable probability;"
            " give one nearer to 1, if the model's weights have not diverged"
        )
    values /= total
    return values
