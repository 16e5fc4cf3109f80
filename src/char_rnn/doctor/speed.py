"""How fast each device trains, and whether one thread beats all on the CPU.

Dimensions: B batch, T time, H hidden.
"""

from __future__ import annotations

import statistics
import time

import torch

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.problem import CELLS, CPU, LAYERS, RATE, SEED
from char_rnn.doctor.report import Speed, Threads
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import on_threads

HIDDEN = (128, 512, 1024)
COMPARED = HIDDEN[:2]
VOCABULARY, BATCH, TIME = 65, 50, 20
SECONDS, ROUNDS = 0.5, 3


def speed(backend: Backend, cell: str, hidden: int, threads: int) -> Speed:
    """Train a model of two layers on batches of 50 x 20 characters for about half a second, one step at the least."""
    with on_threads(threads):
        run = _Run(backend, cell, hidden)
        run.steps(1)
        return Speed(backend.name, cell, hidden, BATCH * TIME / run.seconds_a_step(SECONDS), threads)


def compare_threads(hidden: int) -> Threads:
    """Time an LSTM's steps on one CPU thread and on all of PyTorch's, in turn; the medians."""
    counts = (1, torch.get_num_threads())
    run = _Run(Backend("cpu"), "lstm", hidden)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for turn in range(1 + ROUNDS):
        for count, measured in seconds.items():
            with on_threads(count):
                taken = run.seconds_a_step(SECONDS / ROUNDS)
            if turn:
                measured.append(taken)
    one, every = (BATCH * TIME / statistics.median(seconds[count]) for count in counts)
    return Threads(hidden, counts[1], one, every)


class _Run:
    """A model in training on random characters."""

    def __init__(self, backend: Backend, cell: str, hidden: int) -> None:
        torch.manual_seed(SEED)
        model = backend.place(CELLS[cell](VOCABULARY, hidden, LAYERS))
        self._backend = backend
        self._stepper = TrainStep(model, TrainingConfig(), backend.device)
        self._ids = torch.randint(VOCABULARY, (BATCH, TIME + 1), generator=torch.Generator(CPU).manual_seed(SEED))

    def steps(self, count: int) -> None:
        """Make so many steps, and wait until they are made."""
        for _ in range(count):
            self._stepper.step(self._ids[:, :-1], self._ids[:, 1:], None, RATE)
        self._backend.synchronize()

    def seconds_a_step(self, seconds: float) -> float:
        """Make steps for so many seconds, one at the least."""
        began, made = time.perf_counter(), 0
        while not made or time.perf_counter() - began < seconds:
            self.steps(1)
            made += 1
        return (time.perf_counter() - began) / made
