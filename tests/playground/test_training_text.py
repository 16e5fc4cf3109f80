"""Copied stretches of a text, by the API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from playground_helpers import BYTES, WAIT, model_file, serving

from char_rnn.playground.messages import ApiError
from char_rnn.playground.training_text import TrainingText


def search(text: str, at_least: int, report: Callable[[int, int], None]) -> list[tuple[int, int]]:
    report(1, 1)
    if "!" in text:
        raise ValueError("the text: 1 symbols are too many to search for at once; give a part of it")
    return [(0, at_least), (2, len(text))]


def test_the_stretches_of_a_text() -> None:
    files = {"one": model_file(), "bytes": model_file(BYTES)}
    with serving(files, texts={"one": TrainingText("a play", search)}) as now:
        models = now.http.get("/api/models").json()["models"]
        assert [model["copied_from"] for model in models] == ["a play", None]
        assert now.post("/api/copied", model="one", text="abcdef").json() == {"stretches": [[0, 20], [2, 6]]}
        assert now.post("/api/copied", model="one", text="abc", at_least=1).json() == {"stretches": [[0, 1], [2, 3]]}
        for body, status, words in (
            ({"model": "bytes", "text": "a"}, 422, "model bytes: no training text; start char-rnn serve with --text"),
            ({"model": "one", "text": "a!"}, 422, "too many to search for"),
            ({"model": "one", "text": "a", "at_least": 0}, 422, "at_least"),
            ({"model": "one", "text": "a" * 20_000}, 422, "text: at most 10,000 characters"),
            ({"model": "two", "text": "a"}, 404, "not served here"),
        ):
            answer = now.post("/api/copied", **body)
            assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), body


def test_a_search_ends_when_nobody_waits_for_it() -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(_text: str, _at_least: int, report: Callable[[int, int], None]) -> list[tuple[int, int]]:
        begun.set()
        try:
            while True:
                report(0, 1)
        finally:
            ended.set()

    async def leave() -> None:
        asking = asyncio.ensure_future(TrainingText("a play", endless).copied("abc", 20))
        await asyncio.to_thread(begun.wait, WAIT)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await asyncio.to_thread(ended.wait, WAIT)

    asyncio.run(leave())


def test_one_search_at_a_time() -> None:
    now, most = 0, 0

    def counted(text: str, _at_least: int, _report: Callable[[int, int], None]) -> list[tuple[int, int]]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        threading.Event().wait(0.01)
        now -= 1
        return [(0, len(text))]

    async def several() -> None:
        text = TrainingText("a play", counted)
        assert await asyncio.gather(*(text.copied("a" * length, 1) for length in range(5))) == [
            [(0, length)] for length in range(5)
        ]

    asyncio.run(several())
    assert most == 1


def test_the_next_search_waits_for_a_thread_that_nobody_waits_for() -> None:
    begun, running = threading.Semaphore(0), threading.Lock()

    def alone(_text: str, _at_least: int, report: Callable[[int, int], None]) -> list[tuple[int, int]]:
        assert running.acquire(blocking=False), "two searches at once"
        try:
            begun.release()
            threading.Event().wait(0.02)
            report(0, 1)
        finally:
            running.release()
        return []

    async def leave_often() -> None:
        text = TrainingText("a play", alone)
        for _ in range(5):
            asking = asyncio.ensure_future(text.copied("abc", 20))
            await asyncio.to_thread(begun.acquire, timeout=WAIT)
            asking.cancel()
        assert await text.copied("abc", 20) == []

    asyncio.run(leave_often())


def test_a_text_with_too_many_different_characters() -> None:
    with pytest.raises(ApiError, match="too many"):
        asyncio.run(TrainingText("a play", search).copied("!", 1))
