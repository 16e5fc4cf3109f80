"""Clients that disconnect or read slowly, and a server that shuts down."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import socket
import struct
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPResponse

import httpx
import psutil
import pytest
from playground_helpers import WAIT, Serving, alone, events, eventually, exchange, model_file, serving, text_of

from char_rnn.playground.messages import Outbox
from char_rnn.playground.scheduler import CLOSING
from char_rnn.playground.schema import Limits

LONG = Limits(length=10**9, streams=4, characters_held=20)


class Readers:
    """Clients that read only when a test does."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []

    def connect(self, now: Serving, path: str = "/api/generate", **body: object) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(WAIT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        connection.connect(("127.0.0.1", now.port))
        self.connections.append(connection)
        content = json.dumps({"model": "one", **body}).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        return connection

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()


@pytest.fixture
def readers() -> Iterator[Readers]:
    made = Readers()
    yield made
    made.close()


def read_until(connection: socket.socket, what: bytes) -> bytes:
    """Read until these bytes have arrived."""
    found = b""
    while what not in found:
        piece = connection.recv(65536)
        assert piece, found[-500:]
        found += piece
    return found


@pytest.mark.parametrize("unit", [None, {"layer": 0, "index": 0}], ids=["text", "with a unit"])
def test_a_disconnect_frees_the_row(unit: object, readers: Readers) -> None:
    with serving({"one": model_file()}, LONG) as now:
        for _ in range(3):
            for _ in range(4):
                read_until(readers.connect(now, length=10**9, unit=unit), b"data: ")
            eventually(lambda: now.app.state.models["one"].scheduler.active >= 4)
            readers.close()
            eventually(now.is_idle)
        assert now.text(length=30, seed=1) == alone(model_file(), "", 30, seed=1)


def test_a_disconnect_while_the_prime_is_read(served: Serving, readers: Readers) -> None:
    for path, body in (
        ("/api/generate", {"prime": "abc " * 500, "unit": {"layer": 0, "index": 1}}),
        ("/api/score", {"text": "abc " * 500}),
        ("/api/activations", {"text": "abc " * 500, "layer": 0}),
    ):
        readers.connect(served, path, **body)
        readers.close()
        eventually(served.is_idle)


def test_a_reset_connection_frees_the_row(readers: Readers) -> None:
    with serving({"one": model_file()}, LONG) as now:
        reader = readers.connect(now, length=10**9)
        read_until(reader, b"data: ")
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reader.close()
        eventually(now.is_idle)


def test_one_stream_too_many_is_refused(readers: Readers) -> None:
    with serving({"one": model_file()}, LONG) as now:
        eventually(now.is_idle)  # the server's own text is finished
        for _ in range(4):
            read_until(readers.connect(now, length=10**9), b"data: ")
        for path, body in (("generate", {}), ("score", {"text": "ab"}), ("activations", {"text": "ab", "layer": 0})):
            refused = now.post(f"/api/{path}", model="one", **body)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert "4 texts are being written or read already; try again soon" in refused.json()["error"]["message"]
        assert now.http.get("/api/health").status_code == 200
        readers.connections[0].close()
        eventually(lambda: now.app.state.models["one"].scheduler.active == 3)
        assert len(now.text(length=20)) == 20


def test_a_slow_client_pauses_its_row_and_gets_all(readers: Readers) -> None:
    """Its row pauses, other rows continue, and nothing is lost."""
    limits = Limits(length=10**9, streams=4, characters_held=50)
    with serving({"one": model_file()}, limits) as now:
        eventually(now.is_idle)
        scheduler = now.app.state.models["one"].scheduler
        before = scheduler.symbols
        reader = readers.connect(now, length=2000, seed=7, alternatives=15)
        counted = -1
        while counted != scheduler.symbols:  # until the buffers are full
            counted = scheduler.symbols
            time.sleep(0.2)
        assert 50 < counted - before < 1900
        outboxes = [text._outbox for text in scheduler._rows if text is not None]
        assert len(outboxes[0]) in (50, 51)
        assert now.text(length=200, seed=1) == alone(model_file(), "", 200, seed=1)
        response = HTTPResponse(reader)
        response.begin()
        assert text_of(list(events(iter([response.read().decode()])))) == alone(model_file(), "", 2000, seed=7)


def test_a_client_that_reads_nothing_is_disconnected(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("char_rnn.playground.server.TICKS_TO_LOOK", 1)
    limits = Limits(length=10**9, streams=1, characters_held=50, seconds_stalled=0.2)
    with serving({"one": model_file()}, limits) as now:
        readers.connect(now, length=10**9, alternatives=15)
        scheduler = now.app.state.models["one"].scheduler
        eventually(lambda: any(text is not None and text.paused for text in scheduler._rows))
        eventually(now.is_idle)
        eventually(lambda: not now.server.server_state.connections)


@pytest.mark.parametrize("start", [b"", b"GET /api/hea", b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n\r\nG"])
def test_an_incomplete_request_head_is_disconnected(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("char_rnn.playground.server.TICKS_TO_LOOK", 1)
    with serving({"one": model_file()}) as now, socket.create_connection(("127.0.0.1", now.port), WAIT) as connection:
        connection.sendall(start)
        connection.settimeout(WAIT)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
        eventually(lambda: not now.server.server_state.connections)
        assert now.http.get("/api/health").status_code == 200


def test_too_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connections too many get status 503, others are closed; the server recovers when they have gone."""
    monkeypatch.setattr("char_rnn.playground.server.CONNECTIONS", 4)
    monkeypatch.setattr("char_rnn.playground.server.REFUSED", 2)
    with serving({"one": model_file()}) as now, ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", now.port), WAIT)) for _ in range(5)]
        eventually(lambda: len(now.server.server_state.connections) == 5)
        assert exchange(now.port, b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        eventually(lambda: len(now.server.server_state.connections) == 5)
        held.append(stack.enter_context(socket.create_connection(("127.0.0.1", now.port), WAIT)))
        eventually(lambda: len(now.server.server_state.connections) == 6)
        with socket.create_connection(("127.0.0.1", now.port), WAIT) as closed, suppress(ConnectionResetError):
            assert closed.recv(1) == b""
        assert len(now.server.server_state.connections) == 6
        for connection in held:
            connection.close()
        eventually(lambda: not now.server.server_state.connections)
        assert now.http.get("/api/health").status_code == 200


def test_unread_answers_are_disconnected(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests on one connection: the second answer waits for the first."""
    monkeypatch.setattr("char_rnn.playground.server.TICKS_TO_LOOK", 1)
    with serving({"one": model_file()}, Limits(prime=10_000)) as now:
        connection = readers.connect(now, "/api/activations", text="a" * 10_000, layer=0)
        body = json.dumps({"model": "one", "text": "a" * 10_000, "layer": 0}).encode()
        head = "POST /api/activations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        eventually(lambda: len(now.server.server_state.tasks) > 0)
        eventually(lambda: not now.server.server_state.connections and not now.server.server_state.tasks)


def test_shutdown_ends_the_texts(readers: Readers) -> None:
    with serving({"one": model_file()}, LONG) as now:
        reader = readers.connect(now, length=10**9)
        read_until(reader, b"data: ")
        now.server.should_exit = True
        rest = read_until(reader, b"event: error")
        assert CLOSING.encode() in rest
        eventually(lambda: not now.app.state.models["one"].scheduler._thread.is_alive())


async def cancelled_at_random(port: int, count: int, seed: int) -> dict[str, int]:
    """Send requests, 12 at a time, and cancel most of them; return the number of each outcome."""
    rng = random.Random(seed)
    ended = {"done": 0, "left": 0, "refused": 0}
    room = asyncio.Semaphore(12)
    # The server may close an unused connection just when a request begins to use it again.
    fresh = httpx.Limits(max_keepalive_connections=0)
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address, timeout=WAIT, trust_env=False, limits=fresh) as client:

        async def one() -> None:
            async with room:
                if rng.random() < 0.2:
                    path, body = "score", {"text": "abc " * rng.randrange(100)}
                else:
                    unit = rng.choice([None, {"layer": 0, "index": 1}])
                    path, body = (
                        "generate",
                        {"prime": "ab " * rng.randrange(30), "length": rng.randrange(150), "unit": unit},
                    )
                asked = client.post(f"/api/{path}", json={"model": "one", **body})
                try:
                    answer = await asyncio.wait_for(asked, rng.choice([0.001, 0.01, 0.05, WAIT]))
                    ended["done" if answer.status_code == 200 else "refused"] += 1
                except (TimeoutError, httpx.TimeoutException):
                    ended["left"] += 1

        await asyncio.gather(*(one() for _ in range(count)))
    return ended


def own_threads() -> set[threading.Thread]:
    """Threads, without those of the event loop's executor."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def grown_by(now: Serving, count: int, seed: int) -> int:
    """Return the growth in bytes after requests cancelled at random, with all outcomes."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    ended = asyncio.run(cancelled_at_random(now.port, count, seed))
    eventually(lambda: now.is_idle() and not now.server.server_state.connections)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    assert sum(ended.values()) == count
    assert ended["done"] > count // 10
    assert ended["left"] > count // 10
    assert ended["refused"] == 0
    return grown


@pytest.mark.slow
@pytest.mark.parametrize("count", [25, 350])
def test_requests_cancelled_at_random_leak_nothing(count: int) -> None:
    """A leak grows with each round; caches and coverage do not."""
    with serving({"one": model_file()}, Limits(streams=16)) as now:
        assert now.http.get("/api/models/one/cells").status_code == 200
        asyncio.run(cancelled_at_random(now.port, 30, seed=0))
        eventually(lambda: now.is_idle() and not now.server.server_state.connections)
        threads, tasks = own_threads(), now.tasks()
        tracemalloc.start()
        grown = [grown_by(now, count, seed) for seed in range(1, 4)]
        tracemalloc.stop()
        scheduler = now.app.state.models["one"].scheduler
        eventually(
            lambda: scheduler._rows == [None] * 16 or not any(row and not row.cancelled for row in scheduler._rows)
        )
        assert not scheduler._waiting
        assert not now.server.server_state.tasks
        eventually(lambda: now.tasks() <= tasks)
        assert own_threads() == threads
        assert min(grown) < 20_000 + 300 * count, grown
        assert now.text(length=50, seed=1) == alone(model_file(), "", 50, seed=1)
        eventually(now.is_idle)
        assert [row for row in scheduler._rows if row is not None and not row.ended and not row.cancelled] == []


async def cancelled_streams(port: int, count: int, seed: int) -> None:
    """Ask for streams under /v1 with several texts, 4 at a time, and leave them."""
    rng, room = random.Random(seed), asyncio.Semaphore(4)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT, trust_env=False) as client:

        async def one() -> None:
            path, given = rng.choice(
                [("completions", {"prompt": "ab " * 20}), ("chat/completions", {"messages": [USER]})]
            )
            body = {**given, "n": rng.randrange(1, 5), "max_tokens": 3000, "logprobs": rng.choice([None, True])}
            async with room, client.stream("POST", f"/v1/{path}", json={**body, "stream": True}) as stream:
                assert stream.status_code == 200
                pieces = stream.aiter_text()
                for _ in range(rng.randrange(2)):
                    assert "[DONE]" not in await anext(pieces)
                await asyncio.sleep(rng.random() / 100)

        await asyncio.gather(*(one() for _ in range(count)))


USER = {"role": "user", "content": "ab"}


@pytest.mark.slow
def test_a_thousand_cancelled_streams_leak_nothing() -> None:
    """Rows, outboxes, tasks, threads, descriptors and memory."""
    process = psutil.Process()
    descriptors = process.num_handles if sys.platform == "win32" else process.num_fds
    with serving({"one": model_file()}, Limits(streams=16, length=3000)) as now:
        assert now.http.get("/api/models/one/cells").status_code == 200
        asyncio.run(cancelled_streams(now.port, 500, seed=0))
        eventually(lambda: now.is_idle() and not now.server.server_state.connections)
        threads, tasks, opened = own_threads(), now.tasks(), descriptors()
        tracemalloc.start()
        grown = []
        for seed in (1, 2):
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            asyncio.run(cancelled_streams(now.port, 250, seed))
            eventually(lambda: now.is_idle() and not now.server.server_state.connections)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()
        assert min(grown) < 60_000, grown
        eventually(lambda: now.tasks() <= tasks and not now.server.server_state.tasks)
        assert (own_threads(), descriptors()) == (threads, opened)
        outboxes = [each for each in gc.get_objects() if isinstance(each, Outbox)]
        assert len(outboxes) <= 16  # a row keeps its last job
        assert now.post("/v1/completions", n=16).status_code == 200
