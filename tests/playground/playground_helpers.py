"""Helpers of the playground's tests: small models, and a server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

for package in ("httpx", "prometheus_client", "sse_starlette", "starlette", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed (extras playground and dev)")

import httpx  # noqa: E402
from starlette.applications import Starlette  # noqa: E402

from char_rnn.data.vocabulary import Vocabulary  # noqa: E402
from char_rnn.generation.engine import Engine  # noqa: E402
from char_rnn.generation.generation_state import GenerationState  # noqa: E402
from char_rnn.model_file import ModelFile  # noqa: E402
from char_rnn.models.parameters import parameter_shapes  # noqa: E402
from char_rnn.playground.schema import Limits  # noqa: E402
from char_rnn.playground.server import (  # noqa: E402
    Server,
    bind,
    create_app,
)
from char_rnn.sampling.options import Strategy  # noqa: E402
from char_rnn.utils.config import Config  # noqa: E402

LETTERS = Vocabulary.from_text("abcdefgh \n\".,'é")
BYTES = Vocabulary("bytes", range(256))
WAIT = 20  # seconds until a test fails


def model_file(
    vocabulary: Vocabulary = LETTERS, seed: int = 0, *, generation: dict[str, Any] | None = None, **options: Any
) -> ModelFile:
    """Return a model with random weights."""
    primes = ["a ", "b"] if vocabulary is LETTERS else None
    settings = {"suggested_primes": primes, "top_p": None, **(generation or {})}
    sections = {"model": {"hidden_size": 12, "num_layers": 2, **options}, "generation": settings}
    config = Config.model_validate(sections)
    rng = np.random.default_rng(seed)
    shapes = parameter_shapes(config.model, vocabulary.size)
    tensors = {name: 0.6 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes}
    return ModelFile(config, vocabulary, tensors, {"data": "letters", "best_val_loss": 1.5})


def write_run(folder: Path, losses: Mapping[int, float], seed: int = 0) -> Path:
    """Write the folder of a run with these validation losses by step; the last is the best, if there is any."""
    folder.mkdir(exist_ok=True)
    config = {"training": {"max_steps": 200}}
    (folder / "config.yaml").write_text(json.dumps(config))
    records = [
        {"step": step, "split": split, "loss": loss, "epoch": step / 50, "seconds": step / 10}
        for step, loss in losses.items()
        for split in ("train", "val")
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "samples.jsonl").write_text("".join(f'{{"step": {step}, "text": "a face"}}\n' for step in losses))
    file = model_file(seed=seed)
    last = max(losses, default=0)
    facts = {**file.training, "step": last} | ({"best_val_loss": losses[last], "best_step": last} if losses else {})
    for name in ("best", "last") if losses else ("last",):
        replace(file, training=facts).write(folder / f"{name}.safetensors")
    return folder


@dataclass
class Serving:
    """A running server."""

    app: Starlette
    http: httpx.Client
    port: int
    server: Server
    loop: asyncio.AbstractEventLoop

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def generate(self, **body: Any) -> list[tuple[str, Any]]:
        """Return the events of a text."""
        with self.http.stream("POST", "/api/generate", json={"model": "one", **body}) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            return list(events(response.iter_text()))

    def text(self, **body: Any) -> str:
        return text_of(self.generate(**body))

    def tasks(self) -> int:
        """Number of tasks in the server's event loop."""
        return len(asyncio.all_tasks(self.loop))

    def is_idle(self) -> bool:
        """Whether no text is being computed or sent."""
        schedulers = [model.scheduler for model in self.app.state.models.values()]
        streams = self.app.state.metrics.registry.get_sample_value("char_rnn_streams_active")
        return not any(each.active + each.waiting for each in schedulers) and streams == 0


@contextmanager
def serving(files: Mapping[str, ModelFile | Path], limits: Limits | None = None, **options: Any) -> Iterator[Serving]:
    """Serve models on a free port of 127.0.0.1."""
    with patch("char_rnn.playground.cell_finder.SAMPLE", (400, 400)):
        yield from _serving(files, limits, options)


def _serving(
    files: Mapping[str, ModelFile | Path], limits: Limits | None, options: Mapping[str, Any]
) -> Iterator[Serving]:
    app = create_app(files, limits=limits or Limits(), **options)
    started = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def note() -> None:
        loops.append(asyncio.get_running_loop())
        started.set()

    server = Server(app, note)
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        assert started.wait(WAIT)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT, trust_env=False) as client:
                yield Serving(app, client, port, server, loops[0])
        finally:
            server.should_exit = True
            thread.join(WAIT)
            assert not thread.is_alive()


def events(pieces: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Return events, by name (empty for characters) and data."""
    rest = ""
    for piece in pieces:
        *blocks, rest = (rest + piece).split("\n\n")
        for block in blocks:
            name, _, data = block.rpartition("data: ")
            yield name.removeprefix("event: ").strip(), json.loads(data)
    assert rest == ""


def text_of(happened: list[tuple[str, Any]]) -> str:
    """Return the text of a stream that ended with `done`."""
    assert happened[0][0] == "start"
    assert happened[-1][0] == "done", happened[-1]
    return "".join(data["text"] for name, data in happened if name == "")


def characters_of(happened: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [character for name, data in happened if name == "" for character in data["characters"]]


def unpacked(states: dict[str, Any], layers: int, cells: int) -> np.ndarray:
    """Return the activations (T, L, H) of 8-bit states."""
    levels = np.frombuffer(base64.b64decode(states["values"], validate=True), np.int8)
    return levels.reshape(-1, layers, cells) * (states["scale"] / 127)


def alone(file: ModelFile, prime: str = "", length: int = 500, strategy: Strategy | None = None, **options: Any) -> str:
    """Return the text that the engine writes without a server."""
    streams = Engine(file.config.model, file.tensors).begin()
    options = {"unknown": "nearest", **options}
    text = GenerationState(file.vocabulary, prime, length, strategy or Strategy(), **options)
    for index in text.prime[:-1]:
        streams.step([index])
    symbol = int(text.prime[-1]) if len(text.prime) else text.begin()
    pieces = [text.text()]
    while not text.done:
        assert symbol is not None
        symbol = text.choose(streams.step([symbol])[0])
        pieces.append(text.text())
    return "".join(pieces)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "the condition did not hold in time"
        time.sleep(0.01)


def exchange(port: int, request: bytes) -> bytes:
    """Send raw bytes, and return the answer up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as connection:
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)
