"""A server with the playground's API that writes the text of a test, at its speed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest

for package in ("playwright", "starlette", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed (extras playground and dev)")

import uvicorn  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse  # noqa: E402
from starlette.routing import Mount, Route  # noqa: E402
from starlette.staticfiles import StaticFiles  # noqa: E402

STATIC = files("char_rnn.playground") / "static"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
SYMBOLS = list("\n !\"'(),.:;abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
LINES = "First Citizen:\nWe are “accounted” poor,\n\n(the patricians good)\n"


def model(name: str, **changes: Any) -> dict[str, Any]:
    """Return a model; the page does not write by itself if it has no suggested primes, not even an empty list."""
    shape = {"name": name, "cell": "lstm", "hidden_size": 24, "num_layers": 2, "parameters": 12345, "symbols": SYMBOLS}
    facts = {"data": "a play", "loss": 1.5, "suggested_primes": None, "precision": "float32"}
    return {**shape, **facts, **changes}


@dataclass
class FakeServer:
    """Answers of the server, and the requests it received."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [model("hamlet"), model("macbeth", hidden_size=8)])
    limits: dict[str, int] = field(
        default_factory=lambda: {"length": 20_000, "streams": 8, "prime": 1000, "body": 100_000}
    )
    pause: float = 0.0  # seconds between messages
    per_message: int = 20  # characters
    refusal: str | None = None  # message of a refusal for all requests
    skipped: str = ""  # characters of a prime that all models skip
    rare: bool = False  # the drawn character is not among the alternatives
    read: dict[str, Any] = field(default_factory=dict)  # fields of `start` about the reading of the prime
    breaks_after: int | None = None  # characters before an `error` event
    training: dict[str, Any] | None = None  # progress of the first model's run
    runs: list[str] = field(default_factory=list)
    search: float = 0.0  # seconds of a search for cells
    stretches: list[list[int]] = field(default_factory=list)  # copied ones
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: int = 0
    url: str = ""

    def last(self, path: str) -> dict[str, Any]:
        return next(body for asked, body in reversed(self.asked) if asked == path)

    def app(self) -> Starlette:
        async def index(request: Request) -> Response:
            return FileResponse(str(STATIC / "index.html"), headers={"Content-Security-Policy": POLICY})

        async def answer(request: Request) -> Response:
            path = request.url.path.removeprefix("/api/")
            body = json.loads(await request.body() or b"{}")
            self.asked.append((path, body))
            if self.refusal:
                return JSONResponse({"message": self.refusal}, status_code=400)
            if path == "generate":
                return StreamingResponse(self._stream(body), media_type="text/event-stream")
            if path.endswith("/cells"):
                await asyncio.sleep(self.search)
            return JSONResponse(self._answer(path, body))

        routes = [
            Route("/", index),
            Route("/api/{path:path}", answer, methods=["GET", "POST"]),
            Mount("/static", StaticFiles(directory=str(STATIC))),
        ]
        return Starlette(routes=routes)

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "models":
            return {"models": self.models, "runs": self.runs, "limits": self.limits}
        if path.endswith("/training"):
            return self.training or {}
        if path == "activations":
            return {"activations": [activation(body["unit"], index) for index in range(len(body["text"]))]}
        if path == "states":
            return self._states(body)
        if path == "copied":
            return {"stretches": self.stretches}
        if path == "score":
            log_probs = [-math.log(2) * (index % 9) for index in range(len(body["text"]))]
            following = LINES[len(body["text"]) % len(LINES)]
            likeliest = [[following, 0.5], ["z", 0.25], ["\\xC3", 0.02]] if body["text"] else []
            return {"log_probs": log_probs, "next": likeliest[: body.get("alternatives", 0)]}
        return {
            "cells": [
                {"tracks": "quotes", "layer": 1, "index": 5, "correlation": 0.91},
                {"tracks": "quotes", "layer": 0, "index": 2, "correlation": -0.55},
                {"tracks": "line length", "layer": 0, "index": 7, "correlation": 0.78},
                {"tracks": "line length", "layer": 0, "index": 9, "correlation": -0.39},
                {"tracks": "capitals", "layer": 1, "index": 1, "correlation": 0.2},
            ]
        }

    def _states(self, body: dict[str, Any]) -> dict[str, Any]:
        """The waves of all cells, in 8 bits."""
        shape = next(each for each in self.models if each["name"] == body["model"])
        characters = len(body["text"])
        rows = [states(shape, index)["values"] for index in range(characters)]
        values = base64.b64encode(b"".join(map(base64.b64decode, rows))).decode()
        return {"characters": characters, "scale": 2.0, "values": values}

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        unit, prime = body["unit"], body["prime"].translate(dict.fromkeys(map(ord, self.skipped)))
        start = {"prime": prime, **self.read}
        if unit:
            start["activations"] = [activation(unit["index"], index) for index in range(len(prime))]
        try:
            yield event(start, "start")
            for begin in range(0, body["length"], self.per_message):
                if self.breaks_after is not None and begin >= self.breaks_after:
                    yield event({"message": "The model has lost its way. Lower the temperature."}, "error")
                    return
                end = min(begin + self.per_message, body["length"])
                written = piece(begin, end, body, len(prime), self.rare)
                if body["states"]:
                    shape = next(each for each in self.models if each["name"] == body["model"])
                    written["characters"][-1]["states"] = states(shape, len(prime) + end - 1)
                yield event(written)
                await asyncio.sleep(self.pause)
            yield event(
                {"reason": "length", "characters": body["length"], "seconds": 3, "writing_seconds": 0.5}, "done"
            )
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def event(data: Any, name: str | None = None) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


def activation(unit: int, index: int) -> float:
    """A wave, larger from the thousandth character on."""
    return round((0.9 if index < 1000 else 1.8) * math.sin((index + unit) / 6), 4)


def states(shape: dict[str, Any], index: int) -> dict[str, Any]:
    """The levels of all cells of a model after a character."""
    levels = [
        round(activation(unit, index) * 127 / 2)
        for _ in range(shape["num_layers"])
        for unit in range(shape["hidden_size"])
    ]
    return {"scale": 2.0, "values": base64.b64encode(bytes(level & 0xFF for level in levels)).decode()}


def piece(begin: int, end: int, body: dict[str, Any], before: int, rare: bool) -> dict[str, Any]:
    text = "".join(LINES[index % len(LINES)] for index in range(begin, end))
    characters = []
    for index, symbol in enumerate(text, begin):
        rest = [[other, 0.02] for other in "etaoin shrl" if other != symbol]
        alternatives = (rest if rare else [[symbol, 0.5], *rest])[: body["alternatives"]]
        record: dict[str, Any] = {"text": symbol, "probability": 0.5, "alternatives": alternatives}
        if body["unit"]:
            record["activation"] = activation(body["unit"]["index"], before + index)
        characters.append(record)
    return {"text": text, "characters": characters}


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on a free local port, from a thread; yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", ws="none", lifespan="auto", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(10)
