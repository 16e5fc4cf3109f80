"""Fairness and latency of the server with many readers at once.

    python benchmarks/serving.py [--streams N] [--length N] [--rounds N] [--threads N] [--json FILE]

`char-rnn serve` runs in a process of its own with a model of random weights; this process reads over loopback, without
waiting, as a browser does. In turn: one stream, N streams, N of /v1, N streams while N more read long primes, and the
engine and sampling alone, with as many streams, in a process without a server. Fairness is the speed of the slowest
stream over that of the fastest; the aim is 0.9. The time of first characters counts from the opening of the
connection. The last column is the speed of all streams over that of the engine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness import parser, report

from char_rnn.bench.generation import model_file
from char_rnn.bench.timing import in_own_process
from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState

MODELS = (("lstm", 128, 2), ("lstm", 512, 2), ("gru", 256, 1))
LONG_PRIME = "A" * 5000


class Api(NamedTuple):
    """How a stream is requested: its address, the names of two fields, and what it ends with."""

    path: str
    prime: str
    length: str
    more: dict[str, Any]
    end: bytes


API = Api("/api/generate", "prime", "length", {}, b"event: done")
V1 = Api("/v1/completions", "prompt", "max_tokens", {"stream": True}, b"[DONE]")


class Times(NamedTuple):
    """Seconds of a reader to the first character and to the end."""

    first: float
    last: float


def main() -> None:
    options = parser(__doc__)
    options.set_defaults(threads=1)
    options.add_argument("--streams", type=int, default=16, help="number of readers")
    options.add_argument("--length", type=int, default=3000, help="characters of each text")
    options.add_argument("--rounds", type=int, default=3, help="rounds of measurements")
    arguments = options.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(arguments.threads))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    rows = []
    for number, (kind, hidden, layers) in enumerate(MODELS):
        with tempfile.TemporaryDirectory() as folder, serving(number, Path(folder), arguments) as port:
            rows += measure(number, f"{kind} {layers}x{hidden}", port, arguments)
    report("texts of a server, at once", rows, arguments.json, threads=arguments.threads, length=arguments.length)


@contextmanager
def serving(number: int, folder: Path, arguments: argparse.Namespace) -> Iterator[int]:
    """Start a server, and yield its port when it has searched the model's cells."""
    path = model_file(*MODELS[number]).write(folder / "model.safetensors")
    options = ["--port", "0", "--threads", str(arguments.threads), "--max-streams", str(2 * arguments.streams)]
    command = [sys.executable, "-m", "char_rnn", "serve", str(path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+)/", process.stdout.readline())
            assert found, "the server did not start"
            port = int(found.group(1))
            asyncio.run(ask(port, "GET", "/api/models/model/cells"))
            yield port
        finally:
            process.terminate()


def measure(number: int, name: str, port: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the sides in turn, and return a row for each."""
    count, length = arguments.streams, arguments.length
    sides = {
        "1": (1, 0, API),
        str(count): (count, 0, API),
        f"{count} of /v1": (count, 0, V1),
        f"{count} + {count} reading": (count, count, API),
    }
    times: dict[str, list[list[Times]]] = {side: [] for side in sides}
    engine: dict[int, list[float]] = {1: [], count: []}
    for _ in range(arguments.rounds):
        for side, (writing, reading, api) in sides.items():
            times[side].append(asyncio.run(read_all(port, writing, reading, length, api)))
        for streams, rates in engine.items():
            seconds = in_own_process("serving:write_alone", number=number, count=streams, length=length)
            rates.append(streams * length / seconds)
    alone = {streams: statistics.median(rates) for streams, rates in engine.items()}
    return [
        {"model": name, "at once": side, **figures(times[side], length, alone[writing])}
        for side, (writing, _, _) in sides.items()
    ]


def figures(rounds: list[list[Times]], length: int, engine: float) -> dict[str, float]:
    """Return medians over the rounds."""
    total = statistics.median(len(times) * length / max(each.last for each in times) for times in rounds)
    firsts = [each.first * 1000 for times in rounds for each in times]
    return {
        "char/s, all": total,
        "each": statistics.median(length / each.last for times in rounds for each in times),
        "fairness": statistics.median(min(t.last for t in times) / max(t.last for t in times) for times in rounds),
        "first, ms": statistics.median(firsts),
        "latest, ms": max(firsts),
        "over engine": total / engine,
    }


async def read_all(port: int, writing: int, reading: int, length: int, api: Api) -> list[Times]:
    """Read texts at once, while some more read long primes; return the times of the first."""
    others = [asyncio.create_task(read(port, 1, seed, API, LONG_PRIME)) for seed in range(reading)]
    if others:
        await asyncio.sleep(0.05)
    times = await asyncio.gather(*(read(port, length, seed, api) for seed in range(writing)))
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return times


async def read(port: int, length: int, seed: int, api: Api, prime: str = "") -> Times:
    """Request a text, and time it."""
    body = json.dumps({"model": "model", "seed": seed, api.prime: prime, api.length: length, **api.more})
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request("POST", api.path, body))
        first = 0.0
        rest = b""
        while api.end not in rest:
            piece = await reader.read(65536)
            assert piece, "the server ended before the text did"
            if not first and b'"text":"' in piece:
                first = time.perf_counter() - began
            rest = rest[-20:] + piece
        return Times(first, time.perf_counter() - began)
    finally:
        writer.close()


async def ask(port: int, method: str, path: str) -> None:
    """Wait for an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(method, path, ""))
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


def request(method: str, path: str, body: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


def write_alone(number: int, count: int, length: int) -> float:
    """Return the seconds that the engine and the sampling take for some texts side by side."""
    file = model_file(*MODELS[number])
    streams = Engine(file.config.model, file.tensors).begin(count)
    texts = [GenerationState(file.vocabulary, "", length, seed=seed) for seed in range(count)]
    began = time.perf_counter()
    symbols = [text.begin() or 0 for text in texts]
    while not texts[0].done:
        predictions = streams.step(symbols)
        symbols = [text.choose(log_probs) for text, log_probs in zip(texts, predictions, strict=True)]
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
