"""How the cost of training grows with the model and with the batch.

Dimensions: B batch, T time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import psutil
import torch
from torch import Tensor

from char_rnn.bench.cost import parameter_count, training_flop
from char_rnn.bench.processes import ProcessError, in_own_process, peak_mb
from char_rnn.bench.questions import Settings
from char_rnn.bench.timing import ratio, timed_each
from char_rnn.bench.training_sides import VOCABULARY, BareLoop, Shape, config_of
from char_rnn.bench.writing_sides import Side
from char_rnn.models import build_model
from char_rnn.training.train_step import TrainStep

ADAM = 4  # copies of the parameters: themselves, their gradients, two moments
KEPT = 12  # numbers that a character keeps for the backward pass, and that exist at its peak, in units of L H; about
SHARE_OF_MEMORY = 0.6  # of what is free
LEAST_OF_PEAK = 0.4  # what a step is taken to reach of the peak; small ones, which do not, are short anyway
LEAST_ROUNDS = 3
WARMING = 4  # steps before the rounds
Row = dict[str, Any]


def bytes_of(shape: Shape) -> float:
    """Return about how much memory training takes, the bare loop's beside it."""
    kept = shape.characters * (KEPT * shape.layers * shape.hidden + 4 * VOCABULARY)
    return 4.0 * (2 * ADAM * parameter_count(config_of(shape).model, VOCABULARY) + kept)


def flop_of(shape: Shape) -> int:
    """Return the FLOP of a step."""
    return shape.characters * training_flop(config_of(shape).model, VOCABULARY)


def seconds_of(shape: Shape, peak: float, rounds: int) -> float:
    """Return about how long a shape takes if a round is one step, with ``peak`` FLOP/s, both sides together."""
    return 2 * (rounds + WARMING) * flop_of(shape) / (LEAST_OF_PEAK * peak)


def left_out(shape: Shape, peak: float, limit: float) -> str | None:
    """Return why a shape is not measured; None if it can be.

    Args:
        shape: what to train.
        peak: FLOP/s of the machine.
        limit: seconds that it may take.
    """
    free = SHARE_OF_MEMORY * psutil.virtual_memory().available
    if bytes_of(shape) > free:
        return f"{shape}: takes about {bytes_of(shape) / 1e9:.1f} GB, {free / 1e9:.1f} GB may be taken"
    expected = seconds_of(shape, peak, LEAST_ROUNDS)
    if expected > limit:
        return f"{shape}: takes about {expected:.0f} s, {limit:.0f} s are given to a shape"
    return None


def training_rows(
    shapes: Sequence[Shape], peak: float, settings: Settings, seconds: float, limit: float
) -> tuple[list[Row], list[str]]:
    """Train each model in a process of its own, and the bare PyTorch loop in turn with it.

    Args:
        shapes: what to train.
        peak: FLOP/s of the machine on so many threads as are asked for.
        settings: what is asked for.
        seconds: that a side trains in a round, or one step.
        limit: seconds that a shape may take; one that takes over a quarter of them gets fewer rounds.

    Returns:
        A row a shape, and why others are left out.
    """
    rows, notes = [], []
    for shape in shapes:
        reason = left_out(shape, peak, limit)
        if reason is None:
            settings.tell(f"training, {shape}")
            short = seconds_of(shape, peak, settings.rounds) <= limit / 4
            rounds = settings.rounds if short else min(LEAST_ROUNDS, settings.rounds)
            how = {"rounds": rounds, "seconds": seconds, "threads": settings.threads}
            try:
                measured = in_own_process("char_rnn.bench.growth_training:train_shape", shape=asdict(shape), **how)
            except ProcessError as error:
                reason = f"{shape}: {error}"
            else:
                rows.append(_row(shape, measured, peak))
        notes += [reason] if reason else []
    return rows, notes


def _row(shape: Shape, measured: dict[str, float], peak: float) -> Row:
    model, rate = config_of(shape).model, flop_of(shape) / measured["seconds"]
    return {
        "layers": shape.layers,
        "hidden": shape.hidden,
        "batch": shape.batch,
        "parameters": parameter_count(model, VOCABULARY),
        "FLOP a character": training_flop(model, VOCABULARY),
        "characters/s": shape.characters / measured["seconds"],
        "spread": measured["spread"],
        "GFLOP/s": rate / 1e9,
        "share of peak": rate / peak,
        "bare": shape.characters / measured["bare"],
        "char-rnn / bare": measured["char-rnn / bare"],
        "memory, MB": measured["peak"],
        "of it grown, MB": measured["peak"] - measured["before"],
    }


def train_shape(shape: Mapping[str, Any], rounds: int, seconds: float, threads: int) -> dict[str, float]:
    """Train three steps and take the process's largest memory; then time steps beside those of the bare loop."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    what, before = Shape(**shape), peak_mb()
    ids = torch.randint(VOCABULARY, (what.batch, what.length + 1))
    sides: dict[str, Side] = {"char-rnn": _steps(what, ids)}
    sides["char-rnn"](3)
    peak = peak_mb()
    sides["bare"] = _bare_steps(what, ids)
    timings = timed_each(sides, rounds, seconds)
    return {
        "before": before,
        "peak": peak,
        "seconds": timings["char-rnn"].median,
        "spread": timings["char-rnn"].spread,
        "bare": timings["bare"].median,
        "char-rnn / bare": ratio(timings, "bare", "char-rnn"),
    }


def _steps(shape: Shape, ids: Tensor) -> Side:
    """Return the steps of this package, on ids (B, T + 1)."""
    config = config_of(shape)
    stepper = TrainStep(build_model(config.model, VOCABULARY), config.training, torch.device("cpu"))

    def run(count: int) -> None:
        state = None
        for _ in range(count):
            _, state = stepper.step(ids[:, :-1], ids[:, 1:], state, config.training.learning_rate)

    return run


def _bare_steps(shape: Shape, ids: Tensor) -> Side:
    loop = BareLoop(shape)
    return lambda count: loop.epoch([(ids[:, :-1], ids[:, 1:])] * count)
