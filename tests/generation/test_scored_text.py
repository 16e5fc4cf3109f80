"""A text with the log-probability of each symbol."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from generator_helpers import FULL_BYTES, VOCABULARY, lstm, table

from char_rnn.generation.text_generator import TextGenerator
from char_rnn.generation.torch_engine import TorchEngine


@pytest.mark.parametrize("prime", ["", "abca"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3, "temperature": 0.7},
        {"stop": "ab", "keep_stop": True},
        {"stop": ["d\n", "cc"], "alternatives": 2},
    ],
    ids=str,
)
def test_the_text_is_that_of_generate(prime: str, options: dict[str, Any]) -> None:
    others = {name: value for name, value in options.items() if name != "alternatives"}
    generator = TextGenerator(lstm(), VOCABULARY)
    for seed in range(2):
        scored = list(generator.stream_scored(prime, 60, seed=seed, **options))
        assert "".join(each.text for each in scored) == generator.generate(prime, 60, seed=seed, **others)
        assert [each.is_prime for each in scored] == [place < len(prime) for place in range(len(scored))]
        assert {len(each.alternatives) for each in scored[1:]} <= {options.get("alternatives", 0)}


def test_log_probabilities_are_those_of_the_model_before_temperature_and_filters() -> None:
    model = lstm()
    generator = TextGenerator(model, VOCABULARY)
    scored = list(generator.stream_scored("ab", 30, temperature=0.1, top_k=2, seed=1, alternatives=9))
    streams = TorchEngine(model, "cpu").begin()
    assert (scored[0].log_probability, scored[0].alternatives) == (-math.log(VOCABULARY.size), {})
    for before, each in pairwise(scored):
        log_probs = streams.step(VOCABULARY.encode(before.text))[0]
        assert each.log_probability == pytest.approx(log_probs[VOCABULARY.encode(each.text)[0]], abs=1e-6)
        order = [VOCABULARY.decode([index]) for index in np.argsort(-log_probs, kind="stable")]
        assert list(each.alternatives) == order
        assert each.alternatives[each.text] == each.log_probability


def test_the_bytes_of_a_character_are_shown_one_by_one() -> None:
    generator = TextGenerator(lstm(FULL_BYTES), FULL_BYTES)
    scored = list(generator.stream_scored("é", 200, seed=3))
    assert [(each.text, each.symbol) for each in scored[:2]] == [("", "\\xC3"), ("é", "\\xA9")]
    assert "".join(each.text for each in scored) == generator.generate("é", 200, seed=3)
    assert len(scored) == 202


@pytest.mark.parametrize("keep_stop", [False, True])
def test_no_byte_of_a_stop_text_is_shown_unless_it_is_kept(keep_stop: bool) -> None:
    logits = torch.zeros(256, 256)
    for before, after in {0: 0xC3, 0xC3: 0xA9}.items():
        logits[before, after] = 100
    generator = TextGenerator(table(logits), FULL_BYTES)
    scored = list(generator.stream_scored("", 9, temperature=0, stop="é", keep_stop=keep_stop))
    assert [each.symbol for each in scored] == ["\0", "\\xC3", "\\xA9"][: 3 if keep_stop else 1]


def test_length_0_scores_the_prime() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    assert [each.text for each in generator.stream_scored("abd", 0)] == ["a", "b", "d"]
    assert list(generator.stream_scored("", 0)) == []


def test_a_wrong_number_of_alternatives_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"^alternatives: must be a whole number, 0 or more; given -1"):
        TextGenerator(lstm(), VOCABULARY).stream_scored("a", alternatives=-1)
