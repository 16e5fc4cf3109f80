"""Sampling as sample.lua and torch-rnn did, against their rules written out with plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.model_file import ModelFile
from char_rnn.torch7.layout import linears, to_tensors
from char_rnn.torch7.random import Generator
from char_rnn.torch7.sampling import sample_torch7, sample_torch_rnn
from char_rnn.utils.config import Config

SYMBOLS = b"\n abcdefg\xa9\xc3"
PRIME = b"a bad \xc3\xa9"
TEXTS = {
    "lstm": b"a efadaedeedcg\xc3cedd bcbefada\necdfe d  dfdd",
    "gru": b"a \xa9\xa9beb\xa9g\xa9\xa9ee\xa9\xc3e\xa9geaeec\xa9\xa9beb\n\xa9eg\xa9\xa9bea\ng\xa9ge",
    "rnn": b"a gfccbdcgfccg\xc3cddcabcbdfcda fbdffaca dfda",
}


def model(cell: str = "lstm", scale: float = 1.0) -> ModelFile:
    """A small model drawn from Torch7's generator."""
    sizes = (cell, len(SYMBOLS), 5, 2)
    count = sum(linear.size for linear in linears(*sizes))
    tensors = to_tensors(*sizes, Generator(7).uniform(-scale, scale, count))
    settings = {"type": cell, "hidden_size": 5, "num_layers": 2, "embedding": "one-hot", "reset": "before"}
    return ModelFile(Config.model_validate({"model": settings}), Vocabulary("bytes", SYMBOLS), tensors)


def draw(probabilities: Sequence[float], u: float) -> int:
    """Torch7's multinomial: the first index whose share of the running sum reaches u."""
    sums, total = [], 0.0
    for probability in probabilities:
        total += float(probability)
        sums.append(total)
    return next(j for j, part in enumerate([*(part / total for part in sums[:-1]), 1.0]) if part >= u)


def shares(exponents: Sequence[float]) -> list[float]:
    values = [math.exp(exponent) for exponent in exponents]
    total = 0.0
    for value in values:
        total += value
    return [value / total for value in values]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("temperature", [0.4, 1.0])
@pytest.mark.parametrize("prime", [b"", PRIME], ids=["none", "prime"])
def test_torch7_is_its_rules(cell: str, temperature: float, prime: bytes) -> None:
    file, words = model(cell, 3.0), Generator(5)
    streams = Engine(file.config.model, file.tensors, "float64").begin()
    expected, prediction = prime, np.full(len(SYMBOLS), 1 / len(SYMBOLS))
    for byte in prime:
        prediction = streams.step([SYMBOLS.index(byte)])[0]
    for _ in range(60):
        probabilities = shares([value / temperature for value in prediction.tolist()])
        index = draw(np.array(probabilities, np.float32).tolist(), words.words(1)[0] / 2**32)
        expected += SYMBOLS[index : index + 1]
        prediction = streams.step([index])[0]
    pieces = list(sample_torch7(file, prime=prime, length=60, temperature=temperature, seed=5))
    assert b"".join(pieces) == expected
    assert len(pieces) == 60 + bool(prime)


@pytest.mark.parametrize("temperature", [0.4, 1.0])
@pytest.mark.parametrize("prime", [b"", PRIME], ids=["none", "prime"])
def test_torch_rnn_is_its_rules(temperature: float, prime: bytes) -> None:
    file, words = model("rnn", 3.0), Generator(5)
    streams = Engine(file.config.model, file.tensors, "float64").begin()
    expected, prediction = prime, np.ones(len(SYMBOLS))
    for byte in prime:
        prediction = streams.scores([SYMBOLS.index(byte)])[0]
    while len(expected) < 60:
        divided = prediction.astype(np.float32) / np.float32(temperature)
        index = draw(shares(divided.tolist()), words.words(1)[0] / 2**32)
        expected += SYMBOLS[index : index + 1]
        prediction = streams.scores([index])[0]
    assert b"".join(sample_torch_rnn(file, prime=prime, length=60, temperature=temperature, seed=5)) == expected


@pytest.mark.parametrize(("cell", "text"), TEXTS.items())
def test_known_texts(cell: str, text: bytes) -> None:
    assert b"".join(sample_torch7(model(cell), prime=b"a ", length=40)) == text


@pytest.mark.parametrize("function", [sample_torch7, sample_torch_rnn])
def test_argmax_is_the_first_of_the_likeliest(function: type[sample_torch7]) -> None:
    file = model()
    for tensor in file.tensors.values():
        tensor[...] = 0
    assert b"".join(function(file, length=4, argmax=True, temperature=0)) == b"\n\n\n\n"
    file.tensors["output_proj.bias"][[3, 5]] = 1.0
    assert b"".join(function(file, length=4, argmax=True)) == b"\nbbb"


def test_lengths() -> None:
    file = model()
    assert list(sample_torch7(file, length=0)) == []
    assert list(sample_torch7(file, prime=b"abc", length=0)) == [b"abc"]
    assert list(sample_torch_rnn(file, prime=b"abc", length=3)) == [b"abc"]
    assert len(b"".join(sample_torch_rnn(file, prime=b"abc", length=10))) == 10
    assert len(b"".join(sample_torch7(file, prime=b"abc", length=10))) == 13
    assert len(b"".join(sample_torch7(file))) == len(b"".join(sample_torch_rnn(file))) == 2000


def test_characters_are_read_and_written_in_utf8() -> None:
    file = model()
    file.vocabulary = Vocabulary("characters", [ord(symbol) for symbol in "\n abcdefgéー"])
    text = b"".join(sample_torch_rnn(file, prime="é".encode(), length=300))
    assert text.startswith("é".encode())
    assert len(text.decode()) == 300
    assert "ー" in text.decode()


@pytest.mark.parametrize("function", [sample_torch7, sample_torch_rnn])
def test_a_prime_of_other_symbols(function: type[sample_torch7]) -> None:
    with pytest.raises(UnknownCharacterError, match=r"unknown byte 0x7A \('z'\) at position 1"):
        function(model(), prime=b"azb")


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (sample_torch7, {"length": -1}, r"^length: must be 0 or more; given -1$"),
        (sample_torch_rnn, {"length": 0}, r"^length: must be at least 1, as torch-rnn counts .*; given 0$"),
        (sample_torch_rnn, {"length": 2, "prime": b"abc"}, r"^length: must be at least 3, as torch-rnn .*; given 2$"),
        (sample_torch7, {"temperature": 0}, r"^temperature: must be 1e-30 or more .*; given 0 \(-sample 0 takes"),
        (sample_torch_rnn, {"temperature": math.nan}, r"^temperature: must be 1e-30 or more .*; given nan"),
        (sample_torch_rnn, {"temperature": -1}, r"^temperature: must be 1e-30 or more .*; given -1"),
    ],
)
def test_bad_arguments_are_refused_at_once(
    function: type[sample_torch7], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(model(), **options)


@pytest.mark.parametrize("function", [sample_torch7, sample_torch_rnn])
@pytest.mark.parametrize("temperature", [1e-6, 1e-30])
def test_a_temperature_that_leaves_nothing(function: type[sample_torch7], temperature: float) -> None:
    with pytest.raises(ValueError, match=r"^temperature 1e-.*: no symbol has a usable probability"):
        list(function(model(), prime=b"a", temperature=temperature))


def test_weights_that_are_not_numbers() -> None:
    file = model()
    file.tensors["output_proj.bias"][0] = np.nan
    with pytest.raises(ValueError, match=r"training has diverged$"):
        list(sample_torch7(file, prime=b"a"))


def test_a_vocabulary_of_another_size() -> None:
    file = model()
    file.vocabulary = Vocabulary("bytes", b"abc")
    with pytest.raises(ValueError, match=r"^weights: lstm.weight_ih_l0 has shape \(20, 11\), but"):
        sample_torch7(file)
