"""The server writes the same texts as the engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from playground_helpers import BYTES, LETTERS, Serving, alone, characters_of, model_file, serving, text_of, unpacked

from char_rnn.generation.engine import Engine
from char_rnn.sampling.options import Strategy

STRATEGIES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 0},
    {"temperature": 1.5, "final_temperature": 0.2},
    {"top_k": 3},
    {"top_p": 0.7},
    {"min_p": 0.1},
    {"typical_p": 0.8},
    {"repetition_penalty": 1.3, "repetition_window": 5},
    {"banned": "ab\n"},
    {"allowed": "abc"},
]


@pytest.mark.parametrize("settings", STRATEGIES, ids=str)
@pytest.mark.parametrize("prime", ["", "a badge"])
def test_a_seeded_text_is_the_engines(served: Serving, settings: dict[str, Any], prime: str) -> None:
    written = served.text(prime=prime, length=60, seed=3, **settings)
    assert written == alone(model_file(), prime, 60, Strategy(**settings), seed=3)
    assert len(written) == 60


def test_what_is_not_sent_is_as_the_model_is_configured() -> None:
    """Prime, temperature and filters, as in `char-rnn sample`; null turns a filter off."""
    own = {"temperature": 0.5, "top_p": 0.8, "repetition_penalty": 1.2}
    file = model_file(generation={**own, "prime": "a bad\t"})
    prime = "a bad "  # the vocabulary has no tab
    expected = alone(file, prime, 60, Strategy(**own), seed=3)
    with serving({"one": file}) as now:
        for body in ({}, {"prime": ""}, {"prime": prime, "temperature": None}):
            events = now.generate(length=60, seed=3, **body)
            assert (events[0][1]["prime"], text_of(events)) == (prime, expected)
        for body in ({"top_p": None, "temperature": 1}, {"prime": "é", "repetition_penalty": 1}):
            strategy = Strategy(**{**own, **{name: value for name, value in body.items() if name != "prime"}})
            text = alone(file, body.get("prime", prime), 60, strategy, seed=3)
            assert now.text(length=60, seed=3, **body) == text
        assert now.post("/api/generate", prime="", temperature=-1).status_code == 422
        for body in ({}, {"prompt": "", "temperature": None}, {"prompt": [prime], "top_p": 0.8}):
            answer = now.post("/v1/completions", max_tokens=60, seed=3, **body).json()
            assert answer["choices"][0]["text"] == expected
        echoed = now.post("/v1/completions", max_tokens=60, seed=3, echo=True, logprobs=1).json()
        assert echoed["choices"][0]["text"] == expected
        chat = now.post("/v1/chat/completions", messages=[{"role": "user"}], max_tokens=60, seed=3, top_p=1).json()
        strategy = Strategy(**{**own, "top_p": None})
        assert chat["choices"][0]["message"]["content"] == alone(file, prime, 60, strategy, seed=3)


def test_sixteen_texts_at_once_do_not_affect_each_other(served: Serving) -> None:
    primes = ["", "a", "bad cafe", "face\n" * 40] * 4
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(served.text, prime=prime, length=150, seed=seed) for seed, prime in enumerate(primes)]
        written = [each.result() for each in asked]
    assert written == [alone(model_file(), prime, 150, seed=seed) for seed, prime in enumerate(primes)]
    assert len(set(written)) == 16


def test_without_a_seed_texts_differ(served: Serving) -> None:
    assert served.text(length=60) != served.text(length=60)


def test_a_model_of_bytes_writes_whole_characters(served: Serving) -> None:
    happened = served.generate(model="bytes", prime="é", length=200, seed=1)
    file = model_file(BYTES, type="gru", num_layers=1)
    assert text_of(happened) == alone(file, "é", 200, seed=1)
    assert "".join(character["text"] for character in characters_of(happened)) == text_of(happened)
    assert happened[0] == ("start", {"prime": "é"})
    assert happened[-1][1]["characters"] == 200


def test_a_byte_that_is_not_a_character_is_named(served: Serving) -> None:
    happened = served.generate(model="bytes", prime="é", length=200, seed=1, alternatives=20, temperature=0.5)
    drawn = characters_of(happened)
    names = [character.get("symbol", character["text"]) for character in drawn]
    assert any(name.startswith("\\x") and not character["text"] for name, character in zip(names, drawn, strict=True))
    for name, character in zip(names, drawn, strict=True):
        listed = dict(character["alternatives"])
        assert listed.get(name, character["probability"]) == character["probability"]
        assert name in listed or character["probability"] <= min(listed.values())
    assert not any("symbol" in character for character in characters_of(served.generate(prime="é", length=50)))


def test_writing_seconds_exclude_the_prime(served: Serving) -> None:
    done = served.generate(prime="a badge\n" * 200, length=2)[-1][1]
    assert 0 < done["writing_seconds"] < done["seconds"]
    done = served.generate(prime="", length=2)[-1][1]
    assert done["writing_seconds"] == done["seconds"]


@pytest.mark.parametrize("prime", ["", "a badge"])
def test_each_character_comes_with_its_probability_and_the_likeliest(served: Serving, prime: str) -> None:
    happened = served.generate(prime=prime, length=40, seed=2, temperature=1.4, alternatives=3)
    written = characters_of(happened)
    streams = Engine(model_file().config.model, model_file().tensors).begin()
    log_probs = None
    for index in LETTERS.encode(prime):
        log_probs = streams.step([index])[0]
    for character in written:
        index = LETTERS.char_to_idx[character["text"]]
        if log_probs is None:
            assert character["probability"] == pytest.approx(1 / LETTERS.size, abs=1e-6)
            assert character["alternatives"] == []
        else:
            likeliest = np.argsort(-log_probs, kind="stable")[:3]
            assert character["probability"] == pytest.approx(np.exp(log_probs[index]), abs=1e-6)
            assert [text for text, _ in character["alternatives"]] == [LETTERS.idx_to_char[i] for i in likeliest]
            expected = np.exp(log_probs[likeliest])
            np.testing.assert_allclose([p for _, p in character["alternatives"]], expected, atol=1e-6)
        log_probs = streams.step([index])[0]
    assert text_of(happened) == "".join(character["text"] for character in written)


@pytest.mark.parametrize("prime", ["", "a badge"])
@pytest.mark.parametrize("stop", [[], ["e", "ab"]], ids=["to the end", "stop text"])
def test_the_activation_is_that_after_each_character(served: Serving, prime: str, stop: list[str]) -> None:
    happened = served.generate(prime=prime, length=30, seed=2, stop=stop, unit={"layer": 1, "index": 4})
    written = text_of(happened)
    streams = Engine(model_file().config.model, model_file().tensors).begin()
    expected = []
    for index in LETTERS.encode(prime + written):
        streams.feed([index])
        expected.append(float(streams.hidden()[1, 4]))
    shown = happened[0][1]["activations"] + [character["activation"] for character in characters_of(happened)]
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    assert len(happened[0][1]["activations"]) == len(prime)
    assert written == alone(model_file(), prime, 30, seed=2, stop=stop or None)


@pytest.mark.parametrize("unit", [None, {"layer": 1, "index": 4}], ids=["states", "states and a cell"])
@pytest.mark.parametrize(("prime", "length"), [("", 400), ("a badge", 400), ("", 1)])
def test_all_activations_come_with_the_last_character_and_some_others(
    served: Serving, prime: str, length: int, unit: dict[str, int] | None
) -> None:
    happened = served.generate(prime=prime, length=length, seed=2, unit=unit, states=True)
    written = text_of(happened)
    assert written == served.text(prime=prime, length=length, seed=2)
    streams = Engine(model_file().config.model, model_file().tensors).begin()
    streams.feed(LETTERS.encode(prime))
    sent = []
    for character in characters_of(happened):
        streams.feed(LETTERS.encode(character["text"]))
        assert ("activation" in character) == (unit is not None)
        sent.append("states" in character)
        if sent[-1]:
            found = unpacked(character["states"], 2, 12)
            np.testing.assert_allclose(found, [streams.hidden()], atol=0.5 / 127 + 1e-6)
    assert sent[0]
    assert sent[-1]
    assert sum(sent) < max(2, length / 2)


def test_a_text_ends_before_a_stop_text(served: Serving) -> None:
    whole = served.text(length=200, seed=4)
    stop = whole[50:52]
    happened = served.generate(length=200, seed=4, stop=[stop, "never to be seen"])
    assert text_of(happened) == whole[: whole.index(stop)]
    assert happened[-1][1]["reason"] == "stop"
    assert happened[-1][1]["characters"] == len(text_of(happened))


def test_a_text_may_end_with_its_stop_text(served: Serving) -> None:
    whole = served.text(length=200, seed=4)
    stop = whole[50:52]
    for unit in (None, {"layer": 0, "index": 1}):
        happened = served.generate(length=200, seed=4, stop=[stop], keep_stop=True, unit=unit)
        assert text_of(happened) == whole[: whole.index(stop) + 2]
        assert happened[-1][1]["reason"] == "stop"


def test_a_stop_text_that_the_last_symbol_completes_is_the_reason(served: Serving) -> None:
    whole = served.text(length=60, seed=4)
    length = whole.index(whole[50:52]) + 2
    for stop, reason in (([whole[50:52]], "stop"), ([], "length"), (["ab~"], "length")):
        assert served.generate(length=length, seed=4, stop=stop)[-1][1]["reason"] == reason


def test_a_text_ends_before_a_line_does(served: Serving) -> None:
    whole = served.text(length=300, seed=5)
    assert served.text(length=300, seed=5, stop_at_newline=True) == whole.split("\n")[0]


def test_length_0(served: Serving) -> None:
    for prime in ("", "abc"):
        happened = served.generate(prime=prime, length=0)
        assert happened[0] == ("start", {"prime": prime})
        assert happened[1][0] == "done"
        assert happened[1][1] | {"seconds": 0, "writing_seconds": 0} == {
            "reason": "length",
            "characters": 0,
            "seconds": 0,
            "writing_seconds": 0,
        }
    happened = served.generate(prime="abc", length=0, unit={"layer": 0, "index": 0})
    assert len(happened[0][1]["activations"]) == 3


def test_unknown_characters_of_the_prime(served: Serving) -> None:
    assert served.generate(prime="Ab’c", length=0)[0][1]["prime"] == "ab'c"
    assert served.generate(prime="a東b", length=0, unknown="skip")[0][1]["prime"] == "ab"
    refused = served.post("/api/generate", model="one", prime="a東b", unknown="error")
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "prime"
    assert "'東' (U+6771) at position 1" in refused.json()["error"]["message"]
