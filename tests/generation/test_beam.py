"""Beam search: against all texts there are, and against the engine's own predictions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from char_rnn.cells import BUILT_IN
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.beam import beam_search
from char_rnn.generation.engine import Engine
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import ModelConfig

VOCABULARY = Vocabulary.from_text("abc\n")


def engine(vocabulary: Vocabulary = VOCABULARY, scale: float = 2.0, **options: Any) -> Engine:
    settings = ModelConfig.model_validate({"hidden_size": 5, "num_layers": 2, **options})
    rng = np.random.default_rng(5)
    shapes = dict(parameter_shapes(settings, vocabulary.size))
    return Engine(settings, {name: scale * rng.normal(size=shape) for name, shape in shapes.items()}, "float64")


def log_probability(model: Engine, prime: str, text: str, vocabulary: Vocabulary = VOCABULARY) -> float:
    streams, ids = model.begin(), vocabulary.encode(prime + text).tolist()
    start = len(vocabulary.encode(prime))
    predictions = [streams.step([index])[0] for index in ids[:-1]]
    total = -math.log(vocabulary.size) if not prime else 0.0
    return total + sum(float(predictions[at - 1][ids[at]]) for at in range(max(start, 1), len(ids)))


@pytest.mark.parametrize("prime", ["ab", ""])
@pytest.mark.parametrize("cell", BUILT_IN)
def test_a_beam_as_wide_as_all_texts_finds_the_best(prime: str, cell: str) -> None:
    model = engine(type=cell)
    found = beam_search(model, VOCABULARY, prime, 4, 256)
    texts = {"".join(text): 0.0 for text in itertools.product("\nabc", repeat=4)}
    expected = {text: log_probability(model, prime, text) for text in texts}
    assert [text.text for text in found] == sorted(expected, key=lambda text: -expected[text])
    for text in found:
        assert text.log_probability == pytest.approx(expected[text.text], abs=1e-9)


def test_one_beam_is_greedy() -> None:
    model, streams, text = engine(), engine().begin(), "a"
    for _ in range(30):
        text += VOCABULARY.decode([int(streams.step(VOCABULARY.encode(text[-1]))[0].argmax())])
    found = beam_search(model, VOCABULARY, "a", 30, 1)
    assert [one.text for one in found] == [text[1:]]
    assert found[0].log_probability == pytest.approx(log_probability(model, "a", text[1:]), abs=1e-9)


def test_more_beams_find_likelier_texts_and_always_the_same() -> None:
    model = engine(scale=0.8)
    found = [beam_search(model, VOCABULARY, "ab", 25, beams) for beams in (1, 8, 8)]
    assert found[1] == found[2]
    assert found[1][0].log_probability > found[0][0].log_probability
    totals = [text.log_probability for text in found[1]]
    assert totals == sorted(totals, reverse=True)
    assert len({text.text for text in found[1]}) == 8


def test_with_attention_the_state_is_carried_too() -> None:
    model = engine(attention="all", attention_window=3)
    for text in beam_search(model, VOCABULARY, "abc", 12, 3):
        assert text.log_probability == pytest.approx(log_probability(model, "abc", text.text), abs=1e-9)


@pytest.mark.parametrize("options", [{"stop": ["cc", "ab"]}, {"stop_at_newline": True}, {"stop": "xyz"}])
def test_texts_end_before_a_stop_text(options: dict[str, Any]) -> None:
    model = engine(scale=0.3)
    found = beam_search(model, VOCABULARY, "a", 5, 1000, **options)
    stops = [options["stop"]] if isinstance(options.get("stop"), str) else options.get("stop", ["\n"])
    expected = {}
    for letters in itertools.product("\nabc", repeat=5):
        text = "".join(letters)
        ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
        end, start = min(ends, default=(5, 5))
        expected[text[:end]] = (text[:start], log_probability(model, "a", text[:end]))
    best = sorted(expected.values(), key=lambda pair: -pair[1])[: len(found)]
    assert sorted(round(text.log_probability, 9) for text in found) == sorted(round(total, 9) for _, total in best)
    assert {text.text for text in found} == {text for text, _ in best}
    kept = beam_search(model, VOCABULARY, "a", 5, 1000, **options, keep_stop=True)
    assert [expected[text.text][0] for text in kept] == [text.text for text in found]


def test_banned_and_allowed_characters() -> None:
    model = engine()
    assert all("b" not in text.text for text in beam_search(model, VOCABULARY, "a", 8, 3, banned="b"))
    assert {text.text for text in beam_search(model, VOCABULARY, "", 2, 9, allowed="ac")} == {"aa", "ac", "ca", "cc"}


def test_a_model_of_bytes() -> None:
    vocabulary = Vocabulary("bytes", range(256))
    model = engine(vocabulary)
    found = beam_search(model, vocabulary, "é", 6, 4, stop="€")
    assert found == beam_search(model, vocabulary, "é", 6, 4)
    assert len(found) == 4


def test_length_zero() -> None:
    assert [(text.text, text.log_probability) for text in beam_search(engine(), VOCABULARY, "", 0, 3)] == [("", 0.0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "beams: must be a whole number from 1 to 1,024; given 0"),
        ({"beams": 2.5}, "beams: .*; given 2.5"),
        ({"beams": 10**9}, "beams: .*; given 1000000000"),
        ({"length": -1}, "length: must be a whole number, 0 or more; given -1"),
        ({"prime_text": 5}, "prime_text: must be a text; given 5"),
        ({"stop": ""}, "stop: must be a text of at least one character, .*"),
        ({"unknown": "x"}, "unknown: must be error, skip or nearest; given 'x'"),
        ({"banned": "abc\n"}, "banned and allowed leave no character of the model's vocabulary to draw"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        beam_search(engine(), VOCABULARY, **{"prime_text": "a", **options})
