"""One text being written: what is read, drawn, shown, and when it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation.generation_state import GenerationState, choose_together, seed_of_sample
from char_rnn.generation.sampler import Sampler
from char_rnn.sampling.options import Strategy
from char_rnn.sampling.strategies import probabilities

VOCABULARY = Vocabulary.from_text("abcd\n")
BYTES = Vocabulary("bytes", range(256))
LOGS = np.log([0.1, 0.4, 0.3, 0.15, 0.05])
STRATEGIES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.6},
    {"temperature": 0},
    {"temperature": 1e-5},
    {"temperature": 1.5, "final_temperature": 0},
    {"top_k": 2},
    {"top_p": 0.8},
    {"top_k": 4, "top_p": 0.8, "min_p": 0.3, "typical_p": 0.9},
    {"repetition_penalty": 1.8, "repetition_window": 2},
    {"banned": "b", "temperature": 0.5},
    {"allowed": "ac\n", "top_p": 0.9, "repetition_penalty": 0.5},
]


def written(state: GenerationState, log_probs: Any) -> str:
    state.begin()
    while not state.done:
        state.choose(log_probs)
    return state.text()


def one_hot(symbol: int, size: int = 5) -> np.ndarray:
    log_probs = np.full(size, -100.0)
    log_probs[symbol] = 0
    return log_probs


def test_draws_are_those_of_the_pure_functions() -> None:
    state = GenerationState(VOCABULARY, "a", 200, Strategy(0.7, top_k=4, top_p=0.9), seed=3)
    rng = np.random.default_rng(3)
    sums = np.cumsum(probabilities(LOGS, 0.7, top_k=4, top_p=0.9))
    for _ in range(200):
        assert state.choose(LOGS) == np.searchsorted(sums, rng.random(), side="right")
    assert state.done


def test_the_prime_is_what_the_model_reads() -> None:
    state = GenerationState(VOCABULARY, "ab\n", 3)
    assert state.prime.tolist() == [1, 2, 0]
    assert state.begin() is None
    assert not state.done


def test_without_a_prime_the_first_symbol_is_drawn_from_all_alike() -> None:
    texts = {written(GenerationState(VOCABULARY, "", 1, seed=seed), LOGS) for seed in range(50)}
    assert texts == set("abcd\n")
    texts = {written(GenerationState(VOCABULARY, "", 1, Strategy(allowed="bd"), seed=seed), LOGS) for seed in range(50)}
    assert texts == {"b", "d"}
    assert written(GenerationState(VOCABULARY, "", 1, Strategy(0, banned="\n")), LOGS) == "a"
    state = GenerationState(VOCABULARY, "", 2)
    assert state.begin() is not None
    assert state.begin() is None


def test_length_zero_is_done() -> None:
    state = GenerationState(VOCABULARY, "", 0)
    assert state.done
    assert state.begin() is None
    assert state.text() == ""


@pytest.mark.parametrize("settings", STRATEGIES, ids=str)
def test_side_by_side_it_is_the_same_text_as_alone(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    predictions = rng.normal(size=(40, 7, 5)).astype(np.float32)
    predictions[3, 2, 4] = -np.inf
    sampler = Sampler(Strategy(**settings), VOCABULARY)
    together = [GenerationState(VOCABULARY, "ab", 40, sampler, seed=seed) for seed in range(7)]
    for step in predictions:
        choose_together(together, step)
    for row, state in enumerate(together):
        alone = GenerationState(VOCABULARY, "ab", 40, Strategy(**settings), seed=row)
        for step in predictions:
            alone.choose(step[row])
        assert state.done
        assert state.text() == alone.text()


def test_text_is_given_out_once_and_when_it_is_certain() -> None:
    state = GenerationState(VOCABULARY, "a", 6, stop="bcd")
    shown = []
    for symbol in (2, 3, 2, 3, 1, 2):
        state.choose(one_hot(symbol))
        shown.append(state.text())
    assert shown == ["", "", "bc", "", "bca", "b"]
    assert state.done
    assert state.text() == ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stop": "cd"}, "b"),
        ({"stop": ["zz", "d"]}, "bc"),
        ({"stop": ("bcda", "c")}, "b"),
        ({"stop_at_newline": True}, "bcda"),
        ({"stop_at_newline": True, "stop": "a"}, "bcd"),
        ({"stop": "cd", "keep_stop": True}, "bcd"),
        ({"stop_at_newline": True, "keep_stop": True}, "bcda\n"),
        ({"stop": "xy", "keep_stop": True}, "bcda\nb"),
        ({}, "bcda\nb"),
    ],
)
def test_where_it_stops(options: dict[str, Any], expected: str) -> None:
    state = GenerationState(VOCABULARY, "a", 6, **options)
    for symbol in (2, 3, 4, 1, 0, 2):
        if not state.done:
            state.choose(one_hot(symbol))
    assert state.done
    assert state.text() == expected


def test_a_line_may_end_as_on_windows() -> None:
    vocabulary = Vocabulary.from_text("ab\r\n")
    state = GenerationState(vocabulary, "a", 9, stop_at_newline=True)
    for symbol in vocabulary.encode("a\ra\r\n"):
        state.choose(one_hot(symbol, 4))
    assert state.text() == "a\ra"


def test_a_split_character_is_held_back() -> None:
    state = GenerationState(BYTES, "x", 4)
    shown = []
    for byte in "é€".encode()[:4]:
        state.choose(one_hot(byte, 256))
        shown.append(state.text())
    assert shown == ["", "é", "", ""]


def test_a_schedule_goes_straight_to_the_final_temperature() -> None:
    strategy = Strategy(2.0, final_temperature=0.5)
    assert [strategy.temperature_at(place, 4) for place in range(5)] == pytest.approx([2, 1.5, 1, 0.5, 0.5])
    assert strategy.temperature_at(0, 1) == 2
    assert Strategy(0.7).temperature_at(3, 4) == 0.7
    state = GenerationState(VOCABULARY, "a", 2, Strategy(1e6, final_temperature=0), seed=0)
    np.testing.assert_allclose(state.probabilities(LOGS), 0.2, atol=1e-5)
    state.choose(LOGS)
    np.testing.assert_array_equal(state.probabilities(LOGS), [0, 1, 0, 0, 0])


def test_repetitions_are_counted_over_the_window_from_the_prime_on() -> None:
    state = GenerationState(VOCABULARY, "abb", 9, Strategy(repetition_penalty=2, repetition_window=2))
    assert set(state.recent) == {2}
    expected = np.array([0.1, 0.4, 0.3**2, 0.15, 0.05])
    np.testing.assert_allclose(state.probabilities(LOGS), expected / expected.sum())
    state.choose(one_hot(1))
    state.choose(one_hot(4))
    expected = np.array([0.1, 0.4**2, 0.3, 0.15, 0.05**2])
    np.testing.assert_allclose(state.probabilities(LOGS), expected / expected.sum())


def test_a_wide_window_costs_no_more_than_the_symbols_in_it() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(1, 5, 500).tolist()
    state = GenerationState(VOCABULARY, "", 501, Strategy(repetition_penalty=2, repetition_window=3))
    for count, symbol in enumerate(drawn, 1):
        state.take(symbol)
        assert set(state.recent) == set(drawn[max(0, count - 3) : count])
        assert len(state.recent) <= 3
    wide = GenerationState(VOCABULARY, "ab" * 5000, 9, Strategy(repetition_penalty=2, repetition_window=10_000))
    assert len(wide.recent) == 2


def test_a_symbol_that_someone_else_chose() -> None:
    state = GenerationState(VOCABULARY, "a", 2, seed=1)
    assert state.take(4) == 4
    assert (state.count, state.text()) == (1, "d")


def test_seeds_of_samples_do_not_depend_on_how_many_there_are() -> None:
    def text(seed: Any) -> str:
        return written(GenerationState(VOCABULARY, "a", 30, seed=seed), LOGS)

    texts = [text(seed_of_sample(7, sample)) for sample in range(4)]
    assert texts[0] == text(7)
    assert len(set(texts)) == 4
    assert texts == [text(seed_of_sample(7, sample)) for sample in range(4)]


@pytest.mark.parametrize("kept", [{"banned": "abcd\n"}, {"allowed": "xyz"}, {"allowed": "a", "banned": "a"}])
def test_nothing_left_to_draw(kept: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^banned and allowed leave no character of the model's vocabulary to draw$"):
        GenerationState(VOCABULARY, "a", 5, Strategy(**kept))


def test_banned_characters_of_several_bytes() -> None:
    with pytest.raises(ValueError, match=r"^banned: 'é' is 2 bytes, and this model writes byte by byte; name"):
        GenerationState(BYTES, "a", 5, Strategy(banned="aé"))
    assert written(GenerationState(BYTES, "a", 3, Strategy(allowed="é"[:0] + "z")), np.zeros(256)) == "zzz"


def test_what_is_banned_and_predicted_alone_is_an_error() -> None:
    log_probs = np.where(np.arange(5) == 1, 0.0, -np.inf)
    with pytest.raises(ValueError, match=r"^logits: contain only -inf, so no symbol can be drawn"):
        GenerationState(VOCABULARY, "b", 5, Strategy(banned="a")).choose(log_probs)


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.9}, {"temperature": 0}])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_none(settings: dict[str, Any], bad: float) -> None:
    log_probs = LOGS.copy()
    log_probs[2] = bad
    with pytest.raises(ValueError, match=r"^logits: contain (NaN|\+inf), so no symbol can be drawn; has the"):
        GenerationState(VOCABULARY, "b", 5, Strategy(**settings)).choose(log_probs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "length: must be a whole number, 0 or more; given -1"),
        ({"prime_text": 5}, "prime_text: must be a text; given 5"),
        ({"length": 2.0}, "length: .*; given 2.0"),
        ({"seed": -1}, "seed: must be a whole number, 0 or more, or None; given -1"),
        ({"seed": True}, "seed: .*; given True"),
        ({"stop": ""}, "stop: must be a text of at least one character, or None to write the full length"),
        ({"stop": ["a", ""]}, "stop: .*"),
        ({"stop": ["a", 3]}, "stop: .*"),
        ({"unknown": "drop"}, "unknown: must be error, skip or nearest; given 'drop'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        GenerationState(VOCABULARY, **{"prime_text": "a", **options})


def test_unknown_characters_of_the_prime(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnknownCharacterError, match="'x'"):
        GenerationState(VOCABULARY, "axb")
    assert GenerationState(VOCABULARY, "axb", unknown="skip").prime.tolist() == [1, 2]
    assert caplog.messages == ["prime text: skipped unknown characters: 'x'"]
    caplog.clear()
    assert GenerationState(VOCABULARY, "efghijklmnopqrstuvwxyza", unknown="skip").prime.tolist() == [1]
    assert caplog.messages[0].endswith(" 'w' 'x' and 2 more")
    caplog.clear()
    symbols = Vocabulary("characters", map(ord, 'aE"'))
    assert GenerationState(symbols, "Áa“x”", unknown="nearest").prime.tolist() == [0, 0, 2, 2]
    replaced = """'Á' as 'a', '“' as '"', '”' as '"'"""
    assert caplog.messages == [f"prime text: read {replaced}; skipped unknown characters: 'x'"]
