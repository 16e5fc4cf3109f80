"""Copies that learn from texts of a request: the same for the same texts, bounded, and unknown to all others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from playground_helpers import LETTERS, Serving, alone, eventually, model_file, serving

from char_rnn.generation.engine import Engine
from char_rnn.generation.learning import segments_of
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.playground import learned_copies
from char_rnn.playground.schema import Limits
from char_rnn.training.learner import Learner

TEXT = "a bad cafe, a bad face. " * 4
OTHER = "hedge. " * 10
FILE = model_file()


def learner(file: ModelFile) -> Learner:
    model = build_model(file.config.model, file.vocabulary.size, file.tensors).eval()
    return Learner(model, [torch.full_like(parameter, 0.1) for parameter in model.parameters()], 0.02)


def taught(*texts: str) -> ModelFile:
    """The model after it has learned from texts."""
    known = learner(FILE)
    for text in texts:
        known.begin()
        for segment in segments_of(LETTERS.encode(text).tolist()):
            known.learn_symbols(np.array(segment.symbols), np.array(segment.chosen))
    return ModelFile(FILE.config, FILE.vocabulary, known.tensors())


@contextmanager
def learning(**limits: Any) -> Iterator[Serving]:
    with serving({"one": FILE}, Limits(length=2000, prime=500, **limits), learner=learner) as running:
        yield running


@pytest.fixture(scope="module")
def taught_server() -> Iterator[Serving]:
    with learning() as running:
        yield running


def copies(running: Serving) -> int:
    return len(running.app.state.models["one"]._copies._copies)


def write(running: Serving, learn: Sequence[str], seed: int = 1) -> str:
    return running.text(prime="a ", length=100, seed=seed, learn=list(learn))


@pytest.mark.parametrize("texts", [[TEXT], [TEXT, OTHER], ["a bad"], ["", OTHER + "a"]])
def test_a_text_is_written_by_a_copy_that_has_learned(taught_server: Serving, texts: list[str]) -> None:
    plain = alone(FILE, "a ", 100, seed=1)
    expected = alone(taught(*texts), "a ", 100, seed=1)
    assert write(taught_server, texts) == expected
    assert write(taught_server, texts) == expected
    assert write(taught_server, []) == plain
    assert write(taught_server, [""]) == plain
    assert texts == ["a bad"] or expected != plain


def test_a_text_that_goes_on_is_learned_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as in one request, whatever others have taught meanwhile."""
    monkeypatch.setattr(learned_copies, "SECONDS_IN_USE", 0)
    with learning(copies=1) as running:
        for end in range(20, len(TEXT), 17):
            for learn in ([TEXT[:end]], [OTHER]):
                eventually(running.is_idle)
                assert write(running, learn) == alone(taught(*learn), "a ", 100, seed=1)


def test_the_other_answers_are_those_of_the_copy(taught_server: Serving) -> None:
    learned = taught_server.post("/api/score", text=TEXT, learn=[TEXT]).json()["log_probs"]
    plain = taught_server.post("/api/score", text=TEXT).json()["log_probs"]
    assert sum(learned) > sum(plain) + 1
    for path, more in (("activations", {"layer": 1, "unit": 3}), ("states", {})):
        ask = lambda learn: taught_server.post(f"/api/{path}", text="a bad", learn=learn, **more).json()  # noqa: B023, E731
        assert ask([TEXT]) == ask([TEXT])
        assert ask([TEXT]) != ask([])


def test_characters_that_the_model_lacks_are_replaced(taught_server: Serving) -> None:
    assert write(taught_server, ["A Bad Café’s"]) == write(taught_server, ["a bad café's"])


@pytest.mark.slow
def test_copies_are_few_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_copies, "SECONDS_IN_USE", 0)
    threads = threading.active_count()
    with learning(copies=2, seconds_learned=3) as running:
        for number in range(3):
            eventually(running.is_idle)
            assert write(running, ["abc" * number + TEXT])
            assert copies(running) == min(number + 1, 2)
        eventually(lambda: copies(running) == 0)
        eventually(lambda: not running.app.state.models["one"]._copies._learning._saved)
        assert write(running, [TEXT]) == alone(taught(TEXT), "a ", 100, seed=1)
    eventually(lambda: threading.active_count() <= threads + 1)  # of the event loop's pool


def test_a_copy_writes_in_the_precision_of_the_server() -> None:
    """It has learned in float32."""
    config, learned = FILE.config, taught(TEXT).tensors
    streams = Engine(config.model, learned, "int8").begin()
    with serving({"one": FILE}, learner=learner, precision="int8") as running:
        last = running.post("/api/score", text="ab", learn=[TEXT]).json()["log_probs"][1]
        (a, b) = LETTERS.encode("ab")
        assert last == pytest.approx(streams.step([a])[0, b], abs=1e-5)
        assert last != running.post("/api/score", text="ab").json()["log_probs"][1]


def test_when_all_copies_are_in_use_there_is_a_message() -> None:
    with learning(copies=1) as running:
        body = {"model": "one", "learn": [TEXT], "length": 2000}
        with running.http.stream("POST", "/api/generate", json=body) as response:
            next(response.iter_raw())
            refused = running.post("/api/generate", learn=[OTHER], length=1)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["message"] == "model one: its 1 learned copies are in use; try again soon"
            assert running.text(length=3, learn=[TEXT])  # the same copy
            assert running.text(length=3)


@pytest.mark.parametrize(
    ("learn", "status", "message"),
    [
        (["a" * 300, "b" * 201], 422, "learn: at most 500 characters in all; given 501"),
        (["a", 1], 422, "learn.1: input should be a valid string; given 1"),
        ("abc", 422, "learn: input should be a valid list; given 'abc'"),
    ],
)
def test_bad_texts_are_refused(taught_server: Serving, learn: Any, status: int, message: str) -> None:
    for path, more in (("generate", {}), ("score", {"text": "a"})):
        answer = taught_server.post(f"/api/{path}", learn=learn, **more)
        assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)


def test_a_server_without_learning_says_so(served: Serving) -> None:
    answer = served.post("/api/generate", model="one", learn=["abc"])
    message = "learn: model one does not learn; start char-rnn serve with --learn"
    assert (answer.status_code, answer.json()["error"]) == (422, {"message": message, "field": "learn"})
    assert not served.http.get("/api/models").json()["models"][0]["learns"]


def test_the_models_say_that_they_learn(taught_server: Serving) -> None:
    assert taught_server.http.get("/api/models").json()["models"][0]["learns"]
