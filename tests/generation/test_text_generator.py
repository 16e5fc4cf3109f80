"""Text generation, with models whose predictions are known: what is read, drawn, written, and where it ends."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from generator_helpers import FULL_BYTES, VOCABULARY, cycle, lstm, table, uniform

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation import torch_engine
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.models import CharGRU, CharLSTM, CharRNN
from char_rnn.sampling.strategies import probabilities


def test_the_prime_is_continued() -> None:
    assert TextGenerator(cycle(), VOCABULARY).generate("ab", 6, seed=0) == "abcd\nabc"


def test_the_whole_prime_runs_through_the_model_once() -> None:
    model = cycle()
    TextGenerator(model, VOCABULARY).generate("abca", 3, seed=0)
    assert model.seen == [[1, 2, 3], [1], [2], [3]]


def test_long_primes_run_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_engine, "_CHUNK", 3)
    model = cycle()
    assert TextGenerator(model, VOCABULARY).generate("aaaaaab", 1) == "aaaaaabc"
    assert [len(row) for row in model.seen] == [3, 3, 1]


@pytest.mark.parametrize("model_type", [CharLSTM, CharGRU, CharRNN])
def test_each_step_is_drawn_from_the_models_own_prediction(model_type: type[CharLSTM]) -> None:
    torch.manual_seed(2)
    model = model_type(VOCABULARY.size, 12, 2, 0.3)
    text = TextGenerator(model, VOCABULARY).generate("abc", 40, 0.9, 4, 0.9, seed=7)
    ids = torch.from_numpy(VOCABULARY.encode(text).astype(np.int64))
    log_probs, _ = model.eval()(ids[None, :-1])
    rng = np.random.default_rng(7)
    for place in range(3, len(ids)):
        weights = probabilities(log_probs[0, place - 1].double().detach().numpy(), 0.9, top_k=4, top_p=0.9)
        drawn = int(np.searchsorted(np.cumsum(weights), rng.random(), side="right"))
        assert drawn == ids[place]


def test_an_empty_prime_starts_from_the_uniform_distribution() -> None:
    generator = TextGenerator(cycle(), VOCABULARY)
    counts = Counter(generator.generate("", 1, top_k=1, seed=seed) for seed in range(1000))
    assert set(counts) == set("abcd\n")
    assert sum((number - 200) ** 2 / 200 for number in counts.values()) < 18.5  # p = 0.001
    model = cycle()
    first, second = TextGenerator(model, VOCABULARY).generate("", 2, seed=3)
    assert model.seen == [VOCABULARY.encode(first).tolist()]
    assert second == "\nabcd\n"["\nabcd".index(first) + 1]


def test_greedy_needs_no_seed() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    assert generator.generate("", 30, 0) == generator.generate("", 30, 0)
    assert generator.generate("", 1, 0) == "\n"
    assert TextGenerator(uniform(), VOCABULARY).generate("d", 3, 0) == "d\n\n\n"


def test_seeds_repeat() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    texts = [generator.generate("a", 50, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert generator.generate("a", 50) != generator.generate("a", 50)


def test_the_stream_is_the_text_piece_by_piece() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    pieces = list(generator.stream("ab", 20, seed=4))
    assert pieces[0] == "ab"
    assert [len(piece) for piece in pieces[1:]] == [1] * 20
    assert "".join(pieces) == generator.generate("ab", 20, seed=4)
    assert "" not in list(generator.stream("", 5, seed=4))


def test_length_zero_is_the_prime_alone() -> None:
    model = cycle()
    assert TextGenerator(model, VOCABULARY).generate("ab", 0) == "ab"
    assert TextGenerator(model, VOCABULARY).generate("", 0) == ""
    assert model.seen == []


def test_a_stop_text_ends_before_itself() -> None:
    generator = TextGenerator(cycle(), VOCABULARY)
    assert generator.generate("a", 100, stop="\na") == "abcd"
    assert list(generator.stream("a", 100, stop="\na")) == ["a", "b", "c", "d"]
    assert generator.generate("abcd\na", 3, stop="a") == "abcd\nabcd"
    assert generator.generate("a", 4, stop="\nab") == "abcd\n"


def test_the_model_is_left_in_the_mode_it_was_in() -> None:
    model = lstm(dropout=0.5)
    model.get_submodule("embedding").eval()
    modes = [module.training for module in model.modules()]
    generator = TextGenerator(model, VOCABULARY)
    text = generator.generate("a", 20, seed=1)
    assert [module.training for module in model.modules()] == modes
    model.eval()
    assert generator.generate("a", 20, seed=1) == text
    assert not model.training


def test_training_may_go_on_between_two_pieces() -> None:
    model = cycle()
    for _ in TextGenerator(model, VOCABULARY).stream("a", 3):
        assert model.training
        assert not torch.is_inference_mode_enabled()
        model.logits.sum().backward()
    assert model.modes == [False] * 3


def test_a_failing_model_is_left_in_its_mode() -> None:
    model = lstm()
    with pytest.raises(ValueError, match="given -1"):
        TextGenerator(model, VOCABULARY).generate("a", 3, -1)
    with torch.no_grad():
        model.output_proj.bias.fill_(math.nan)
    with pytest.raises(ValueError, match=r"^logits: contain NaN, so no symbol can be drawn; has the model's"):
        TextGenerator(model, VOCABULARY).generate("a", 3)
    assert model.training


def test_unknown_characters_of_the_prime_are_an_error() -> None:
    with pytest.raises(UnknownCharacterError, match=r"'x' \(U\+0078\) at position 1"):
        TextGenerator(cycle(), VOCABULARY).generate("axb")


def test_unknown_characters_of_the_prime_can_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    model = cycle()
    assert TextGenerator(model, VOCABULARY).generate("axbé", 2, unknown="skip") == "axbécd"
    assert model.seen[:2] == [[1], [2]]
    assert caplog.messages == ["prime text: skipped unknown characters: 'x' 'é'"]


def test_a_prime_of_unknown_characters_alone_is_an_empty_one() -> None:
    text = TextGenerator(cycle(), VOCABULARY).generate("xyz", 1, 0, unknown="skip")
    assert text == "xyz\n"


def test_a_misspelt_option_is_reported_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"^temprature: not an option of generate.*; did you mean temperature\?$"):
        TextGenerator(cycle(), VOCABULARY).generate("a", temprature=1)  # type: ignore[call-arg]


def test_the_specifications_call() -> None:
    chars = {"z": 0, "y": 1, "x": 2}
    model = table(torch.eye(3).roll(1, dims=1) * 100)
    generator = TextGenerator(model, chars, {0: "z", 1: "y", 2: "x"}, torch.device("cpu"))
    assert generator.generate(prime_text="z", length=4, temperature=1.0, top_k=None, top_p=None) == "zyxzy"
    with pytest.raises(UnknownCharacterError, match="'a'"):
        generator.generate("za")


def test_a_byte_model_never_shows_part_of_a_character() -> None:
    text = "é€😀"
    data = text.encode()
    logits = torch.zeros(256, 256)
    for first, second in pairwise(data):
        logits[first, second] += 100
    # 0x82 ends the second character and 0x80 is inside the third: the bigrams of these three are all distinct.
    generator = TextGenerator(table(logits), FULL_BYTES)
    assert list(generator.stream("é", len(data) - 2, 0)) == ["é", "€", "😀"]
    assert generator.generate("é", len(data) - 3, 0) == "é€"
    assert generator.generate("é", 1, 0) == "é"


def test_length_counts_bytes_for_a_byte_model() -> None:
    logits = torch.zeros(256, 256)
    logits[:, ord("a")] = 100
    assert TextGenerator(table(logits), FULL_BYTES).generate("€", 5) == "€aaaaa"


def test_a_byte_model_that_writes_no_utf8_still_writes() -> None:
    logits = torch.full((256, 256), -100.0)
    logits[:, 0xFF] = 100
    assert TextGenerator(table(logits), FULL_BYTES).generate("a", 2) == "a\ufffd\ufffd"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "length: must be a whole number, 0 or more; given -1"),
        ({"prime_text": 5}, "prime_text: must be a text; given 5"),
        ({"length": 1.5}, "length: .*; given 1.5"),
        ({"length": True}, "length: .*; given True"),
        ({"temperature": -1}, "temperature: .*; given -1"),
        ({"top_k": 0}, "top_k: .*; given 0"),
        ({"top_p": 0.0}, "top_p: .*; given 0.0"),
        ({"seed": -1}, "seed: must be a whole number, 0 or more, or None; given -1"),
        ({"seed": 1.0}, "seed: .*; given 1.0"),
        ({"stop": ""}, "stop: must be a text of at least one character, or None to write the full length"),
        ({"unknown": "drop"}, "unknown: must be error, skip or nearest; given 'drop'"),
    ],
)
def test_bad_arguments_raise_before_the_first_piece(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        TextGenerator(cycle(), VOCABULARY).stream(**{"prime_text": "a", **options})


def test_a_vocabulary_of_another_model_is_an_error() -> None:
    message = r"^vocabulary: has 6 symbols, but the model was made for 5; use the one it was trained with$"
    with pytest.raises(ValueError, match=message):
        TextGenerator(cycle(), Vocabulary.from_text("abcdef"))


def test_mappings_in_any_order_of_characters() -> None:
    for inverse in (None, {2: "\n", 1: "a", 0: "z"}, ["z", "a", "\n"]):
        vocabulary = TextGenerator(table(torch.zeros(3, 3)), {"a": 1, "z": 0, "\n": 2}, inverse).vocabulary
        assert vocabulary.encode("a\nza").tolist() == [1, 2, 0, 1]
        assert vocabulary.decoder().decode([1, 2, 0]) == "a\nz"


@pytest.mark.parametrize("mapping", [{}, {"a": 1}, {"a": 0, "b": 0}, {"a": 0, "b": 2}, {"a": -1, "b": 0}])
def test_indices_that_are_not_0_to_v(mapping: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^char_to_idx: must not be empty|^char_to_idx: indices must be 0 to "):
        TextGenerator(table(torch.zeros(2, 2)), mapping)


def test_mappings_of_more_than_characters() -> None:
    with pytest.raises(ValueError, match=r"^char_to_idx: must map single characters; given 'ab'"):
        TextGenerator(table(torch.zeros(2, 2)), {"ab": 0, "c": 1})


@pytest.mark.parametrize("inverse", [{0: "b", 1: "a"}, ["a"], {0: "a", 1: "b", 2: "c"}])
def test_inverses_that_are_not(inverse: Any) -> None:
    with pytest.raises(ValueError, match=r"^idx_to_char: must be the inverse of char_to_idx; leave it out"):
        TextGenerator(table(torch.zeros(2, 2)), {"a": 0, "b": 1}, inverse)
