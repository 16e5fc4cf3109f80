"""Copies that learn from texts of a request: the same for the same texts, bounded, and unknown to all others."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from playground_helpers import LETTERS, WAIT, Serving, alone, eventually, model_file, serving

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.learning import segments_of
from char_rnn.generation.unknown_characters import spelled
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.playground import learning_model
from char_rnn.playground.learning_model import LearningModel
from char_rnn.playground.schema import Limits
from char_rnn.training.learner import Learner

TEXT = "a bad cafe, a bad face. " * 4
OTHER = "hedge. " * 10
LIGATURE = "\ufdfa"  # one character, with a compatibility form of 18
FILE = model_file()


def learner(file: ModelFile, _progress: Callable[..., None] | None = None) -> Learner:
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
    make = limits.pop("learner", learner)
    with serving({"one": FILE}, Limits(length=2000, prime=500, **limits), learner=make) as running:
        yield running


@pytest.fixture(scope="module")
def taught_server() -> Iterator[Serving]:
    with learning() as running:
        yield running


def copies(running: Serving) -> int:
    return running.app.state.models["one"].learned_copies


def connect(running: Serving, **body: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", running.port))
    content = json.dumps(body).encode()
    head = "POST /api/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    return connection


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
    monkeypatch.setattr(learning_model, "SECONDS_IN_USE", 0)
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
    monkeypatch.setattr(learning_model, "SECONDS_IN_USE", 0)
    threads = threading.active_count()
    with learning(copies=2, seconds_learned=3) as running:
        for number in range(3):
            eventually(running.is_idle)
            assert write(running, ["abc" * number + TEXT])
            assert copies(running) == min(number + 1, 2)
        eventually(lambda: copies(running) == 0)
        eventually(lambda: not running.app.state.models["one"]._learning._saved)
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


def test_a_short_text_of_many_symbols_is_refused() -> None:
    letters = Vocabulary.from_text(unicodedata.normalize("NFKD", LIGATURE))
    assert len(spelled(letters, LIGATURE, "nearest").indices) == 18
    with serving({"one": model_file(letters)}, Limits(prime=500), learner=learner) as running:
        answer = running.post("/api/score", text="", learn=[LIGATURE * 112])
        message = "learn: the model reads 2,016 symbols for these texts; at most 2,000"
        assert (answer.status_code, answer.json()["error"]) == (422, {"message": message, "field": "learn"})


def test_a_search_for_copies_does_not_learn(taught_server: Serving) -> None:
    answer = taught_server.post("/api/copied", text="a", learn=["a"])
    assert answer.json()["error"] == {"message": "learn: no such field", "field": "learn"}


class Waiting(Learner):
    """A learner that waits for the test before each step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.steps, self.begun, self.go_on = 0, threading.Semaphore(0), threading.Semaphore(0)
        self._one = threading.Lock()

    def learn_symbols(self, *args: Any) -> None:
        assert self._one.acquire(blocking=False), "two texts are learned at once"
        self.begun.release()
        assert self.go_on.acquire(timeout=WAIT)
        super().learn_symbols(*args)
        self.steps += 1
        self._one.release()


def waiting() -> tuple[Waiting, Callable[..., Learner]]:
    known = learner(FILE)
    made = Waiting(known.model, [torch.full_like(parameter, 0.1) for parameter in known.parameters], 0.02)
    return made, lambda *_: made


def test_a_client_that_leaves_stops_what_it_teaches() -> None:
    """Its thread ends before another text is learned."""
    known, make = waiting()
    with learning(learner=make) as running, ThreadPoolExecutor() as pool:
        connection = connect(running, learn=[TEXT])
        assert known.begun.acquire(timeout=WAIT)
        other = pool.submit(write, running, [OTHER])
        connection.close()
        labels = {"endpoint": "generate", "status": "499"}
        count = running.app.state.metrics.registry.get_sample_value
        eventually(lambda: count("char_rnn_requests_total", labels) == 1)
        assert running.http.get("/api/health").status_code == 200
        known.go_on.release(100)
        assert other.result(WAIT) == alone(taught(OTHER), "a ", 100, seed=1)
        assert known.steps == 1 + len(segments_of(OTHER))


@pytest.mark.parametrize("measures", [True, False])
def test_a_server_that_ends_does_not_wait_for_what_is_learned(measures: bool) -> None:
    known, make = waiting()
    begun = threading.Event()

    def endless(_file: ModelFile, progress: Callable[..., None]) -> Learner:
        begun.set()
        while True:
            progress("measuring gradients", 1, 2)

    with learning(learner=endless if measures else make) as running:
        connection = connect(running, learn=[TEXT])
        assert begun.wait(WAIT) if measures else known.begun.acquire(timeout=WAIT)
        running.server.end()
        eventually(lambda: bool(running.app.state.models["one"]._closing))
        known.go_on.release(100)
        connection.close()
    assert known.steps == (0 if measures else 1)


def test_a_copy_used_while_others_are_dropped_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    now, dropping = [0.0], asyncio.Event()
    monkeypatch.setattr(learning_model.time, "monotonic", lambda: now[0])

    class Copy:
        busy = False

        def count(self, _attribute: str, /) -> float:
            return 0

        def start(self) -> None:
            pass

        close = start

        async def stop(self, _reason: str, /) -> None:
            await dropping.wait()

    async def use() -> None:
        known = LearningModel("one", FILE, "float32", Limits(), None, learner)
        monkeypatch.setattr(known, "_serve", lambda _: Copy())
        await known.learned(["ab"])
        used = await known.learned(["cd"])
        now[0] = 10.0
        forgetting = asyncio.create_task(known.forget(5))
        while known.learned_copies == 2:
            await asyncio.sleep(0)
        assert await known.learned(["cd"]) is used
        dropping.set()
        await forgetting
        assert await known.learned(["cd"]) is used

    asyncio.run(use())


def test_copies_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were dropped."""
    monkeypatch.setattr(learning_model, "SECONDS_IN_USE", 0)
    with learning(copies=1) as running:
        value = running.app.state.metrics.registry.get_sample_value
        for number, learn in enumerate(([TEXT], [OTHER], [TEXT]), 1):
            assert len(write(running, learn)) == 100
            eventually(running.is_idle)
            assert value("char_rnn_characters_total", {"model": "one"}) == number * 101
            assert value("char_rnn_learned_copies", {"model": "one"}) == 1


def test_a_server_without_learning_says_so(served: Serving) -> None:
    answer = served.post("/api/generate", model="one", learn=["abc"])
    message = "learn: model one does not learn; start char-rnn serve with --learn"
    assert (answer.status_code, answer.json()["error"]) == (422, {"message": message, "field": "learn"})
    assert not served.http.get("/api/models").json()["models"][0]["learns"]


def test_the_models_say_that_they_learn(taught_server: Serving) -> None:
    assert taught_server.http.get("/api/models").json()["models"][0]["learns"]
