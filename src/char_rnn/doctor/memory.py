"""Memory in use over training steps.

On MPS it has grown from step to step until none was left (pytorch issues 145374, 164299).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.finding import Finding
from char_rnn.doctor.problem import CELLS, LAYERS, RATE, Problem
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig

STRETCHES = 4
KIB = 1024
ALLOWED = {"allocated": 1 * KIB, "reserved": 128 * KIB, "rss": 128 * KIB}
"""Bytes a step. Tensors are counted exactly; pools and the process grow by blocks now and then."""


def memory(backend: Backend, problem: Problem) -> Finding:
    """Train, and look at the memory after every step; the error is in bytes a step.

    A leak is found again when it is looked for again; what a process needs at first is not.
    """
    finding = _examine(backend, problem)
    return finding if finding.passed else _examine(backend, problem)


def _examine(backend: Backend, problem: Problem) -> Finding:
    """Train once.

    The memory goes up and down by megabytes as pools and the heap are filled and emptied, so the least of a stretch of
    steps is what counts; the first stretch is left out.
    """
    sizes = problem.sizes
    model = backend.place(CELLS[problem.cell](sizes.vocabulary, sizes.leak_hidden, LAYERS))
    stepper = TrainStep(model, TrainingConfig(), backend.device)
    ids = problem.ids(*sizes.batch)
    looks = []
    for _ in range((2 + STRETCHES) * sizes.leak_steps):
        stepper.step(ids[:, :-1], ids[:, 1:], None, RATE)
        backend.synchronize()
        looks.append(backend.memory())
    looks = looks[sizes.leak_steps :]
    growth = {kind: _growth([look[kind] for look in looks], sizes.leak_steps) for kind in looks[0]}
    return _judge(growth, STRETCHES * sizes.leak_steps)


def _growth(looks: list[int], steps: int) -> float:
    """Return the bytes a step by which the memory grew.

    What is merely kept grows in one stretch. What leaks grows in all of them, unless it is put for a while where
    something was freed before. So the stretch with the second most growth decides, and half of all growth if that is
    less: what falls back has not leaked.
    """
    floors = [min(looks[first : first + steps]) for first in range(0, len(looks), steps)]
    second = sorted(after - before for before, after in pairwise(floors))[-2]
    return min(second, (floors[-1] - floors[0]) / 2) / steps


def _judge(growth: Mapping[str, float], steps: int) -> Finding:
    if not growth:
        return Finding(True, "this system does not tell how much memory is in use")
    worst = max(growth, key=lambda kind: growth[kind] / ALLOWED[kind])
    off, allowed = max(0.0, growth[worst]), float(ALLOWED[worst])
    words = f"over {steps} steps memory ({worst}) grows by {off / KIB:,.0f} KiB a step (allowed {allowed / KIB:.0f})"
    return Finding(off <= allowed, words, off, allowed)
