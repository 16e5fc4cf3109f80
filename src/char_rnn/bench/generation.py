"""Generation speed of the engine and of a loop of PyTorch's modules, on the same shapes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from char_rnn.bench.baselines import MODULES
from char_rnn.bench.peers import Peer, compare_programs, itself
from char_rnn.bench.suites import ResultTable, Settings
from char_rnn.bench.timing import Repeated, in_turn, ratio, timed_each
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Precision
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import Config

SYMBOLS = [chr(number) for number in range(32, 32 + 65)]
SIZES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
HIDDEN, QUICK_HIDDEN = (128, 512), (128,)
STREAMS = (1, 4, 16, 64, 256)
COMMAND_CHARACTERS, LOOP_CHARACTERS = 200_000, 2000
PEER_CHARACTERS, PEER_HIDDEN = (1000, 20_000), 128

ALONE_NOTE = (
    "Characters/s, medians; the programs run in turn. The models have two layers, 65 symbols and random weights. "
    "loop: nn.Embedding, the recurrent module, nn.Linear and torch.multinomial. step / reading: speed of a step of "
    "the engine, divided by the speed of reading as many bytes as the model's matrices have; the limit is 1."
)
COMMAND_NOTE = (
    f"`char-rnn sample` writes {COMMAND_CHARACTERS:,} characters with its default options, timed from the start to the"
    f" end of the process. In turn, the loop writes {LOOP_CHARACTERS:,} characters in the measuring process."
)
BATCH_NOTE = (
    "The engine in float32. engine / products: speed of the engine, divided by the speed of PyTorch's matrix products"
    " of the same shapes."
)
PRIMES, PRIMED_CHARACTERS = 64, 200
PRIMES_NOTE = (
    f"{PRIMED_CHARACTERS} characters for each of {PRIMES} primes of 5 to 79 characters, one after the other and side by"
    " side: the same texts."
)
START_NOTE = (
    "Time from the start of a `char-rnn sample` process to its first character, and the memory of the process at that"
    " time."
)
PEER_NOTE = (
    f"Whole programs, which run in turn for {PEER_CHARACTERS[0]:,} and {PEER_CHARACTERS[1]:,} characters. The rate is "
    "the speed of the additional characters of the longer run; the start-up is the rest of the shorter run."
)


def measure(settings: Settings) -> list[ResultTable]:
    """Run the suite."""
    cells = ("lstm",) if settings.quick else tuple(MODULES)
    shapes = [(cell, size) for cell in cells for size in (QUICK_HIDDEN if settings.quick else HIDDEN)]
    peers = settings.peers_of("generation")
    programs = _programs(settings, peers) if peers else []  # first, so that an invalid command is reported soon
    tables = [
        ResultTable("one text", [row for shape in shapes for row in alone(*shape, settings)], ALONE_NOTE),
        ResultTable("command line", [command_line(cell, HIDDEN[0], settings) for cell in cells], COMMAND_NOTE),
    ]
    if not settings.quick:
        tables.append(ResultTable("texts side by side", list(together("lstm", 512, settings, STREAMS)), BATCH_NOTE))
        tables.append(ResultTable("many primes", [primes("lstm", size, settings) for size in HIDDEN], PRIMES_NOTE))
    starts = [start(*shape, settings) for shape in shapes if shape[0] == "lstm"]
    return [*tables, ResultTable("start", starts, START_NOTE), *programs]


def alone(cell: str, hidden: int, settings: Settings) -> Iterator[dict[str, Any]]:
    """Measure one text at a time; yield a row for each precision."""
    settings.progress(f"writing one text, {cell} 2x{hidden}")
    file = model_file(cell, hidden)
    sides: dict[str, Repeated] = {"loop": plain_loop(cell, hidden)}
    for precision, size in SIZES.items():
        engine = Engine(file.config.model, file.tensors, precision, threads=settings.threads)
        sides[precision] = stream(TextGenerator(engine, file.vocabulary))
        sides[f"{precision} step"] = steps_of(engine)
        sides[f"{precision} reading"] = reader(bytes_of(file) // 4 * size, settings.threads)
    timings = timed_each(sides, settings.rounds, 0.1 if settings.quick else 0.3)
    for precision in SIZES:
        yield {
            "cell": cell,
            "hidden": hidden,
            "precision": precision,
            "loop": 1 / timings["loop"].median,
            "char-rnn": 1 / timings[precision].median,
            "spread": timings[precision].spread,
            "char-rnn / loop": ratio(timings, "loop", precision),
            "steps/s": 1 / timings[f"{precision} step"].median,
            "step / reading": ratio(timings, f"{precision} reading", f"{precision} step"),
        }


def command_line(cell: str, hidden: int, settings: Settings) -> dict[str, Any]:
    """Measure `char-rnn sample` and the loop."""
    settings.progress(f"writing with `char-rnn sample`, {cell} 2x{hidden}")
    with TemporaryDirectory() as folder:
        values = {
            "model": model_file(cell, hidden).write(Path(folder, "m.safetensors")),
            "characters": COMMAND_CHARACTERS,
        }
        sides: dict[str, Callable[[], object]] = {
            "loop": partial(plain_loop(cell, hidden), LOOP_CHARACTERS),
            "sample": partial(itself("generation", settings.threads).run, values, settings.threads),
        }
        timings = in_turn(sides, settings.rounds)
    return {
        "cell": cell,
        "hidden": hidden,
        "loop": LOOP_CHARACTERS / timings["loop"].median,
        "char-rnn sample": COMMAND_CHARACTERS / timings["sample"].median,
        "spread": timings["sample"].spread,
        "sample / loop": ratio(timings, "loop", "sample") * COMMAND_CHARACTERS / LOOP_CHARACTERS,
    }


def together(cell: str, hidden: int, settings: Settings, streams: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Measure several texts side by side in float32; yield a row for each number of texts."""
    file = model_file(cell, hidden)
    engine = Engine(file.config.model, file.tensors, threads=settings.threads)
    for count in streams:
        settings.progress(f"writing {count} texts side by side, {cell} 2x{hidden}")
        sides = {"engine": steps_of(engine, count), "products": products(cell, hidden, count)}
        timings = timed_each(sides, settings.rounds)
        yield {
            "cell": cell,
            "hidden": hidden,
            "texts": count,
            "characters/s": count / timings["engine"].median,
            "µs a character": timings["engine"].median / count * 1e6,
            "spread": timings["engine"].spread,
            "engine / products": ratio(timings, "products", "engine"),
        }


def primes(cell: str, hidden: int, settings: Settings) -> dict[str, Any]:
    """Measure texts for many primes, one after the other and side by side."""
    settings.progress(f"writing for {PRIMES} primes, {cell} 2x{hidden}")
    file, rng = model_file(cell, hidden), np.random.default_rng(0)
    generator = TextGenerator(Engine(file.config.model, file.tensors, threads=settings.threads), file.vocabulary)
    texts = ["".join(rng.choice(SYMBOLS, length)) for length in rng.integers(5, 80, PRIMES)]
    sides: dict[str, Callable[[], object]] = {
        "alone": lambda: [generator.generate(prime, PRIMED_CHARACTERS, seed=1) for prime in texts],
        "together": lambda: generator.generate_many(texts, PRIMED_CHARACTERS, seed=1),
    }
    timings = in_turn(sides, settings.rounds)
    return {
        "cell": cell,
        "hidden": hidden,
        "one after the other": PRIMES * PRIMED_CHARACTERS / timings["alone"].median,
        "side by side": PRIMES * PRIMED_CHARACTERS / timings["together"].median,
        "spread": timings["together"].spread,
        "ratio": ratio(timings, "alone", "together"),
    }


def start(cell: str, hidden: int, settings: Settings) -> dict[str, Any]:
    """Measure the time from the shell to the first character."""
    settings.progress(f"the first character, {cell} 2x{hidden}")
    with TemporaryDirectory() as folder:
        path = model_file(cell, hidden).write(Path(folder, "model.safetensors"))
        measured = [first_character(path) for _ in range(settings.rounds + 1)][1:]
    return {
        "cell": cell,
        "hidden": hidden,
        "first character, s": statistics.median(seconds for seconds, _ in measured),
        "slowest, s": max(seconds for seconds, _ in measured),
        "resident MB": statistics.median(resident for _, resident in measured),
    }


def _programs(settings: Settings, peers: Sequence[Peer]) -> list[ResultTable]:
    settings.progress(f"writing, whole processes: char-rnn, {', '.join(peer.name for peer in peers)}")
    with TemporaryDirectory() as folder:
        model = model_file("lstm", PEER_HIDDEN).write(Path(folder, "model.safetensors"))
        values = {"hidden": PEER_HIDDEN, "layers": 2, "model": model}
        runs = [{**values, "characters": characters} for characters in PEER_CHARACTERS]
        rows = compare_programs(peers, runs, "characters", 1, settings.rounds, settings.threads)
    return [ResultTable("whole processes", rows, PEER_NOTE)]


def model_file(cell: str, hidden: int, layers: int = 2) -> ModelFile:
    """Return a model with random weights."""
    sizes = {"hidden_size": hidden, "num_layers": layers, "embedding_size": 64}
    config = Config.model_validate({"model": {"type": cell, **sizes}})
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config.model, len(SYMBOLS))
    tensors = {name: (rng.normal(size=shape) * hidden**-0.5).astype(np.float32) for name, shape in shapes}
    return ModelFile(config, Vocabulary("characters", [ord(symbol) for symbol in SYMBOLS]), tensors, {})


def plain_loop(cell: str, hidden: int) -> Repeated:
    """Return plain PyTorch's way to generate: one symbol at a time through the modules."""
    embedding, recurrent = nn.Embedding(len(SYMBOLS), 64), MODULES[cell](64, hidden, 2, batch_first=True)
    output = nn.Linear(hidden, len(SYMBOLS))

    def write(count: int) -> None:
        state, symbol = None, torch.zeros(1, 1, dtype=torch.long)
        with torch.inference_mode():
            for _ in range(count):
                x, state = recurrent(embedding(symbol), state)
                symbol = torch.multinomial(torch.softmax(output(x[:, -1]), -1), 1)
                symbol.item()

    return write


def stream(generator: TextGenerator) -> Repeated:
    """Return this package's way to generate."""

    def write(count: int) -> None:
        for _ in generator.stream(" ", count, seed=1):
            pass

    return write


def steps_of(engine: Engine, count: int = 1) -> Repeated:
    """Return the engine's steps alone, of ``count`` texts side by side."""
    streams, symbols = engine.begin(count), np.arange(count) % len(SYMBOLS)

    def run(steps: int) -> None:
        for _ in range(steps):
            streams.step(symbols)

    return run


def bytes_of(file: ModelFile) -> int:
    """Return the bytes of the matrices that a step reads in float32."""
    looked_up = ("embedding.weight", "weight_ih_l0")
    matrices = [tensor for name, tensor in file.tensors.items() if tensor.ndim == 2 and not name.endswith(looked_up)]
    return sum(matrix.size for matrix in matrices) * 4


def reader(size: int, threads: int) -> Repeated:
    """Return a read of ``size`` bytes, a share for each thread: BLAS's product of two vectors.

    A sum of squares would load each number twice, which is visible in a core's own cache.
    """
    shares = [np.ones((2, max(1, size // 8 // threads)), np.float32) for _ in range(threads)]

    def read(count: int) -> None:
        def own(share: Any) -> None:
            for _ in range(count):
                np.dot(*share)

        workers = [threading.Thread(target=own, args=(share,)) for share in shares[1:]]
        for worker in workers:
            worker.start()
        own(shares[0])
        for worker in workers:
            worker.join()

    return read


def products(cell: str, hidden: int, streams: int) -> Repeated:
    """Return the matrix products of a step: the second layer's, the recurrent ones of the first, and the output's."""
    width = {"lstm": 4, "gru": 3, "rnn": 1}[cell] * hidden
    shapes = [(hidden, width), (2 * hidden, width), (hidden, len(SYMBOLS))]
    operands = [(torch.randn(streams, n), torch.randn(n, m), torch.empty(streams, m)) for n, m in shapes]

    def multiply(count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                for x, weight, out in operands:
                    torch.mm(x, weight, out=out)

    return multiply


def first_character(path: Path) -> tuple[float, float]:
    """Return the seconds to the first character of ``char-rnn sample``, and its resident memory in MB."""
    import psutil

    command = [sys.executable, "-m", "char_rnn", "sample", str(path), "--length", "2000", "--seed", "1", "--quiet"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - began
        resident = psutil.Process(process.pid).memory_info().rss / 1e6
        process.stdout.read()
    return seconds, resident
