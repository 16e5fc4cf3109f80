"""Ways to write: each does a number of characters, reads or products when it is called with that number."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from char_rnn.bench.training_sides import MODULES
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import Config

SYMBOLS = [chr(number) for number in range(32, 32 + 65)]
Side = Callable[[int], object]


def model_file(cell: str, hidden: int) -> ModelFile:
    """Return a model of two layers with random weights."""
    config = Config.model_validate({"model": {"type": cell, "hidden_size": hidden, "embedding_size": 64}})
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config.model, len(SYMBOLS))
    tensors = {name: (rng.normal(size=shape) * hidden**-0.5).astype(np.float32) for name, shape in shapes}
    return ModelFile(config, Vocabulary("characters", [ord(symbol) for symbol in SYMBOLS]), tensors, {})


def plain_loop(cell: str, hidden: int) -> Side:
    """Return what anyone would write: one symbol at a time through PyTorch's modules."""
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


def writer(generator: TextGenerator) -> Side:
    """Return what writes with this package."""

    def write(count: int) -> None:
        for _ in generator.stream(" ", count, seed=1):
            pass

    return write


def steps_of(engine: Engine, count: int = 1) -> Side:
    """Return the engine's steps alone, of so many texts side by side."""
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


def reader(size: int, threads: int) -> Side:
    """Return what reads so many bytes, each thread its share: the product of two vectors, by BLAS.

    The sum of the squares of one loads every number twice, which shows where a core's own cache holds it.
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


def products(cell: str, hidden: int, streams: int) -> Side:
    """Return as many multiplications as a step has, in products of the shapes of the second layer."""
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[cell]
    x, weight = torch.randn(streams, 2 * hidden), torch.randn(2 * hidden, gates * hidden)
    out, first = torch.empty(streams, gates * hidden), torch.randn(streams, hidden)
    first_weight, output, scores = (
        torch.randn(hidden, gates * hidden),
        torch.randn(hidden, 65),
        torch.empty(streams, 65),
    )

    def multiply(count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                torch.mm(first, first_weight, out=out)
                torch.mm(x, weight, out=out)
                torch.mm(first, output, out=scores)

    return multiply


def first_character(path: Path) -> tuple[float, float]:
    """Return the seconds to the first character that ``char-rnn sample`` writes, and its largest memory in MB."""
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
