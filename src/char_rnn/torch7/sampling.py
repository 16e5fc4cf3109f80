"""Text as the programs of 2015 and 2016 sample it: sample.lua of char-rnn, and torch-rnn's.

Both divide the prediction by the temperature, exponentiate it (without subtracting a maximum), divide by the sum taken
from left to right, and draw by Torch7's multinomial, one 32-bit word per symbol:

=============  =====================================  =============================================
..             char-rnn                               torch-rnn
=============  =====================================  =============================================
prediction     log-probabilities                      scores, before the softmax
temperature    divides in float64                     divides in float32
probabilities  rounded to float32                     float64
no prime       the first symbol is drawn uniformly    the first symbol is drawn uniformly
length         symbols after the prime                symbols in all, including the prime
=============  =====================================  =============================================

Dimensions: V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Array
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_tensors
from char_rnn.torch7.random import Generator

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
    """Sample as char-rnn's sample.lua does, on the CPU in double precision.

    Args:
        file: The model.
        prime: Text to continue, returned first. Without one the first symbol is drawn uniformly.
        length: Number of symbols to add.
        temperature: Divisor of the log-probabilities.
        seed: Seed of Torch7's generator.
        argmax: Take the most likely symbol, the first of equals, instead of drawing.

    Yields:
        The prime, if there is one, then each symbol as bytes.

    Raises:
        UnknownCharacterError: `prime` has a symbol that is not in the vocabulary.
        ValueError: An argument is out of range, or (while sampling) no symbol has a usable probability.
    """
    if length < 0:
        raise ValueError(f"length: must be 0 or more; given {length}")
    _check_temperature(temperature, argmax)
    generator, text = Generator(seed), _Text(file, prime)

    def draw(log_probs: Array) -> int:
        values = np.exp(log_probs / temperature)
        return generator.multinomial(_normalized(values, temperature).astype(np.float32))

    first = np.full(file.vocabulary.size, 1 / file.vocabulary.size)
    return text.continued(length, text.streams.step, first, _greedy if argmax else draw)


def sample_torch_rnn(
    file: ModelFile,
    *,
    prime: bytes = b"",
    length: int = 2000,
    temperature: float = 1.0,
    seed: int = 123,
    argmax: bool = False,
) -> Iterator[bytes]:
    """Sample as torch-rnn's ``LanguageModel:sample`` does after ``torch.manualSeed(seed)``, which it calls nowhere.

    Characters beyond ASCII in a prime are read as characters; torch-rnn reads them as bytes and fails. The network runs
    in double precision, torch-rnn's own in single.

    Arguments, yields and raises as :func:`sample_torch7`, except that `length` includes the prime's symbols, and
    `temperature` divides the scores.
    """
    text = _Text(file, prime)
    if length < max(1, len(text.prime_ids)):
        raise ValueError(
            f"length: must be at least {max(1, len(text.prime_ids))}, as torch-rnn counts the prime's symbols too;"
            f" given {length}"
        )
    _check_temperature(temperature, argmax)
    generator = Generator(seed)

    def draw(scores: Array) -> int:
        with np.errstate(over="ignore"):
            values = np.exp(np.divide(scores, temperature, dtype=np.float32), dtype=np.float64)
        return generator.multinomial(_normalized(values, temperature))

    rest, first = length - len(text.prime_ids), np.ones(file.vocabulary.size)
    return text.continued(rest, text.streams.scores, first, _greedy if argmax else draw)


class _Text:
    """A prime and the model that continues it."""

    def __init__(self, file: ModelFile, prime: bytes) -> None:
        check_tensors(file.config.model, file.vocabulary.size, file.tensors)
        self.streams = Engine(file.config.model, file.tensors, "float64").begin()
        self.prime_ids: list[int] = file.vocabulary.encode(prime).tolist()
        self._prime = prime
        self._symbols = [file.vocabulary.decode_bytes([index]) for index in range(file.vocabulary.size)]

    def continued(
        self, length: int, predict: Callable[[list[int]], Array], first: Array, choose: Callable[[Array], int]
    ) -> Iterator[bytes]:
        """Yield the prime and ``length`` more symbols; ``first`` is the prediction if there is no prime."""
        if self._prime:
            yield self._prime
        if length == 0:
            return
        if self.prime_ids:
            self.streams.feed(self.prime_ids[:-1])
            first = predict(self.prime_ids[-1:])[0]
        index = choose(first)
        yield self._symbols[index]
        for _ in range(length - 1):
            index = choose(predict([index])[0])
            yield self._symbols[index]


def _check_temperature(temperature: float, argmax: bool) -> None:
    if not argmax and not LOWEST_TEMPERATURE <= temperature < math.inf:
        raise ValueError(
            f"temperature: must be {LOWEST_TEMPERATURE:g} or more to sample as in 2015; given {temperature:g}"
            " (-sample 0 takes the most likely symbol each time)"
        )


def _greedy(prediction: Array) -> int:
    return int(prediction.argmax())


def _normalized(values: Array, temperature: float) -> Array:
    """Divide exponentiated predictions (V,) by their sum, in place."""
    total = float(np.add.accumulate(values)[-1])
    if not 0 < total < math.inf:
        raise ValueError(
            f"temperature {temperature:g}: no symbol has a usable probability;"
            " give a temperature nearer to 1; if it fails too, the model's training has diverged"
        )
    values /= total
    return values
