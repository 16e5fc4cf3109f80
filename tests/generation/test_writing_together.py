"""Texts for many primes, written side by side: each is what it would be alone."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import V, config, weights
from generator_helpers import FULL_BYTES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation import text_generator
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import PRECISIONS
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.models import build_model
from char_rnn.utils.config import ModelConfig

SYMBOLS = "abcdefghij\n"
VOCABULARY = Vocabulary.from_text(SYMBOLS)
MODELS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"type": "gru", "reset": "before", "embedding": "one-hot"},
    "attention": {"attention": "all", "attention_window": 3, "match_lengths": [1], "residual": True},
}


@cache
def generators(name: str = "lstm", kernels: bool = True) -> list[TextGenerator]:
    """The engine in each precision, and the PyTorch model; `kernels` is the fixture's."""
    model = config(**MODELS[name])
    tensors = weights(model, 0.5)
    module = build_model(model, V, tensors).eval()
    engines = [TextGenerator(Engine(model, tensors, precision), VOCABULARY) for precision in PRECISIONS]
    return [*engines, TextGenerator(module, VOCABULARY)]


primes = st.lists(st.text(SYMBOLS, max_size=12), min_size=1, max_size=6)
strategies = st.sampled_from(
    [
        {},
        {"top_p": 0.8, "final_temperature": 0.2},
        {"repetition_penalty": 1.5},
        {"stop": ["ab", "j"], "keep_stop": True},
    ]
)


@pytest.mark.parametrize("kernels", ["kernels", "off"], indirect=True)
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_text_is_what_it_would_be_alone(kernels: bool, model: str, data: st.DataObject) -> None:
    texts, options, seed = data.draw(primes), data.draw(strategies), data.draw(st.integers(0, 9))
    generator = data.draw(st.sampled_from(generators(model, kernels)))
    together = generator.generate_many(texts, 12, seed=seed, **options)
    assert together == [generator.generate(prime, 12, seed=seed, **options) for prime in texts]
    each = [generator.generate_many(prime, 12, num_samples=3, seed=seed, **options) for prime in texts]
    assert generator.generate_many(texts, 12, num_samples=3, seed=seed, **options) == list(chain.from_iterable(each))
    assert [group[0] for group in each] == together


def test_more_texts_than_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [generator, *_] = generators()
    texts = [SYMBOLS[:length] for length in (3, 0, 9, 1, 5)]
    expected = generator.generate_many(texts, 9, num_samples=3, seed=2)
    monkeypatch.setattr(text_generator, "_TOGETHER", 4)
    assert generator.generate_many(iter(texts), 9, num_samples=3, seed=2) == expected  # type: ignore[arg-type]
    assert generator.generate_many([], 9) == []
    assert generator.generate_many(texts, 0) == texts


def test_texts_of_equal_primes_differ_without_a_seed() -> None:
    [generator, *_] = generators()
    assert len(set(generator.generate_many(["abc"] * 5, 40))) == 5
    assert len(set(generator.generate_many(["abc"] * 5, 40, seed=1))) == 1


def test_a_model_of_bytes() -> None:
    torch.manual_seed(0)
    model = ModelConfig(hidden_size=8, num_layers=1)
    tensors = {name: each.numpy() for name, each in build_model(model, 256).state_dict().items()}
    generator = TextGenerator(Engine(model, tensors), FULL_BYTES)
    texts = ["é", "", "漢字 a", "x" * 300]
    expected = [generator.generate(prime, 30, seed=4) for prime in texts]
    assert generator.generate_many(texts, 30, seed=4) == expected


def test_an_unknown_character_in_one_prime() -> None:
    [generator, *_] = generators()
    with pytest.raises(UnknownCharacterError, match="'z'"):
        generator.generate_many(["a", "z"], 5)
    assert generator.generate_many(["a", "Az"], 5, unknown="nearest", seed=1)[1].startswith("Az")


@pytest.mark.parametrize("kernels", ["kernels", "off"], indirect=True)
def test_reading_texts_of_any_lengths(kernels: bool) -> None:
    rng = np.random.default_rng(3)
    engine = Engine(config(**MODELS["attention"]), weights(config(**MODELS["attention"])))
    texts = [rng.integers(0, V, length) for length in (0, 300, 7, 1, 7, 70, *[2] * 70)]
    streams, alone = engine.begin(80), engine.begin()
    streams.feed_each(texts)
    for row, text in enumerate([*texts, [], [], [], []]):
        alone.reset()
        alone.feed(text)
        for ours, expected in zip(streams.state(row), alone.state(), strict=True):
            np.testing.assert_array_equal(ours, expected)
    with pytest.raises(IndexError, match="stream 1: must be from 0 to 0"):
        alone.feed_each([[1], [2]])
    with pytest.raises(IndexError, match="symbol 99: must be from 0 to 10"):
        alone.feed_each([[99]])
