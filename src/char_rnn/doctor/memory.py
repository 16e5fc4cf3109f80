"""Memory in use over training steps.

On MPS it has grown from step to step until none was left (pytorch issues 145374, 164299).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.finding import Finding
from char_rnn.doctor.problem import CELLS, LAYERS, RATE, Problem
from char_rnn.training.stepping import Stepper
from char_rnn.utils.config import TrainingConfig

STRETCHES = 4
KIB = 1024
ALLOWED = {"allocated": 1 * KIB, "reserved": 32 * KIB, "rss": 32 * KIB}
"""Bytes a step. Tensors are counted exactly; pools and the process grow by blocks now and then."""


def memory(backend: Backend, problem: Problem) -> Finding:
    """Train, and look at the memory five times; the error is in bytes a step.

    What is merely kept grows in one of the stretches between two looks; what leaks grows in all of them, unless it is
    put for a while where something was freed before. So the stretch in which it grew the second most decides.
    """
    sizes = problem.sizes
    model = backend.place(CELLS[problem.cell](sizes.vocabulary, sizes.leak_hidden, LAYERS))
    stepper = Stepper(model, TrainingConfig(), backend.device)
    ids = problem.ids(*sizes.batch)
    looks = []
    for _ in range(1 + STRETCHES):
        for _ in range(sizes.leak_steps):
            stepper.step(ids[:, :-1], ids[:, 1:], None, RATE)
        backend.synchronize()
        looks.append(backend.memory())
    return _judge({kind: _growth(looks, kind) / sizes.leak_steps for kind in looks[0]}, STRETCHES * sizes.leak_steps)


def _growth(looks: list[dict[str, int]], kind: str) -> int:
    """Return the bytes of the stretch in which the memory grew the second most."""
    return sorted(after[kind] - before[kind] for before, after in pairwise(looks))[-2]


def _judge(growth: Mapping[str, float], steps: int) -> Finding:
    if not growth:
        return Finding(True, "this system does not tell how much memory is in use")
    worst = max(growth, key=lambda kind: growth[kind] / ALLOWED[kind])
    off, allowed = max(0.0, growth[worst]), float(ALLOWED[worst])
    words = f"over {steps} steps memory ({worst}) grows by {off / KIB:,.0f} KiB a step (allowed {allowed / KIB:.0f})"
    return Finding(off <= allowed, words, off, allowed)
