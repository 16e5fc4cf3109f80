"""Do many readers of one server get their texts at an even pace, and how soon does each see the first character?

    python benchmarks/serving.py [--streams N] [--length N] [--rounds N] [--threads N] [--json FILE]

`char-rnn serve` runs in a process of its own with a model of random weights; this one reads over loopback, without
waiting, as a browser does. In turn: one stream, N at once, N at once while as many more read long primes, and, for
comparison, the engine and the drawing alone with as many streams, in a process without a server. Fairness is the
slowest stream's characters a second over the fastest's; the aim is 0.9. First characters are timed from the opening of
the connection. The last column is the characters a second of all streams over those of the engine alone.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import parser, report

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import GenerationState
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import Config

MODELS = (("lstm", 128, 2), ("lstm", 512, 2), ("gru", 256, 1))
VOCABULARY = Vocabulary.from_text("".join(map(chr, range(40, 104))) + "\n")
LONG_PRIME = "a" * 5000


@dataclass(frozen=True)
class Told:
    """What one reader saw: seconds to the first character and to the end."""

    first: float
    last: float


def main() -> None:
    """Measure, print a table, write JSON where asked to."""
    arguments = parse()
    if arguments.alone:
        print(write_alone(arguments.alone[0], arguments.alone[1], arguments.length))
        return
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(arguments.threads))
    rows = []
    for number, (kind, hidden, layers) in enumerate(MODELS):

        def alone(count: int, number: int = number) -> float:
            command = [sys.executable, __file__, "--length", str(arguments.length), "--alone", str(number), str(count)]
            return float(subprocess.check_output(command, env=environment))

        with tempfile.TemporaryDirectory() as folder, serving(model_file(number), Path(folder), arguments) as port:
            rows += measure(f"{kind} {layers}x{hidden}", port, alone, arguments)
    report("texts of a server, at once", rows, arguments.json, threads=arguments.threads, length=arguments.length)


def parse() -> argparse.Namespace:
    options = parser(__doc__, threads=False)
    options.add_argument("--threads", type=int, default=1, help="of the server's matrix products")
    options.add_argument("--alone", nargs=2, type=int, help=argparse.SUPPRESS)
    options.add_argument("--streams", type=int, default=16, help="how many readers at once")
    options.add_argument("--length", type=int, default=3000, help="characters that each is written")
    options.add_argument("--rounds", type=int, default=3, help="how often each side is measured")
    return options.parse_args()


def model_file(number: int) -> ModelFile:
    """Return one of the models, with random weights about as large as trained ones."""
    kind, hidden, layers = MODELS[number]
    config = Config.model_validate({"model": {"type": kind, "hidden_size": hidden, "num_layers": layers}})
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config.model, VOCABULARY.size)
    tensors = {name: (rng.normal(size=shape) / hidden**0.5).astype(np.float32) for name, shape in shapes}
    return ModelFile(config, VOCABULARY, tensors, {})


@contextmanager
def serving(file: ModelFile, folder: Path, arguments: argparse.Namespace) -> Iterator[int]:
    """Start a server, and yield its port once it has looked for the model's cells."""
    path = file.write(folder / "model.safetensors")
    options = ["--port", "0", "--threads", str(arguments.threads), "--max-streams", str(2 * arguments.streams)]
    command = [sys.executable, "-m", "char_rnn", "serve", str(path), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r":(\d+)/", process.stderr.readline())
            assert found, "the server did not start"
            port = int(found.group(1))
            asyncio.run(ask(port, "GET", "/api/models/model/cells"))
            yield port
        finally:
            process.terminate()


def measure(name: str, port: int, alone: Callable[[int], float], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the sides in turn, and return a row for each."""
    count, length = arguments.streams, arguments.length
    sides = {"1": (1, 0), str(count): (count, 0), f"{count} + {count} reading": (count, count)}
    told: dict[str, list[list[Told]]] = {side: [] for side in sides}
    engine: dict[int, list[float]] = {1: [], count: []}
    for _ in range(arguments.rounds):
        for side, (writing, reading) in sides.items():
            told[side].append(asyncio.run(read_all(port, writing, reading, length)))
        for streams, rates in engine.items():
            rates.append(streams * length / alone(streams))
    rows = []
    for side, (writing, _) in sides.items():
        rows.append({"model": name, "at once": side, **figures(told[side], length, statistics.median(engine[writing]))})
    return rows


def figures(rounds: list[list[Told]], length: int, engine: float) -> dict[str, float]:
    """Return medians over the rounds."""
    total = statistics.median(len(told) * length / max(each.last for each in told) for told in rounds)
    firsts = [each.first * 1000 for told in rounds for each in told]
    return {
        "char/s, all": total,
        "each": statistics.median(length / each.last for told in rounds for each in told),
        "fairness": statistics.median(min(t.last for t in told) / max(t.last for t in told) for told in rounds),
        "first, ms": statistics.median(firsts),
        "latest, ms": max(firsts),
        "over engine": total / engine,
    }


async def read_all(port: int, writing: int, reading: int, length: int) -> list[Told]:
    """Read texts at once, while some more read long primes; return what the first were told."""
    others = [asyncio.create_task(read(port, 1, seed, LONG_PRIME)) for seed in range(reading)]
    if others:
        await asyncio.sleep(0.05)
    told = await asyncio.gather(*(read(port, length, seed) for seed in range(writing)))
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return told


async def read(port: int, length: int, seed: int, prime: str = "") -> Told:
    """Have a text written, and time it."""
    body = json.dumps({"model": "model", "length": length, "seed": seed, "prime": prime})
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request("POST", "/api/generate", body))
        first = 0.0
        rest = b""
        while b"event: done" not in rest:
            piece = await reader.read(65536)
            assert piece, "the server ended before the text did"
            if not first and b'"characters":[' in piece:
                first = time.perf_counter() - began
            rest = rest[-20:] + piece
        return Told(first, time.perf_counter() - began)
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
    """Return the seconds that the engine and the drawing take for as many texts, one symbol of each at a step."""
    file = model_file(number)
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
