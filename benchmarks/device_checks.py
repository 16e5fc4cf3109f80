"""The checks of ``device.py``: results of the device against those of the CPU.

Dimensions: B sequences in a batch, T their steps, W window of matches.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from device_parts import TESTS, Check, Figure, Found, Part, Setup, attempt, peak_memory, within

from char_rnn.bench.baselines import VOCABULARY, Shape, text_of
from char_rnn.bench.ops import repeated
from char_rnn.bench.timing import timed_each
from char_rnn.doctor import Backend, examine_backends
from char_rnn.doctor.checks import GRADIENT, LOG_PROBS, judge_gradients, judge_log_probs
from char_rnn.doctor.problem import CPU, Computed, Sizes, compute, exact, whole_float32
from char_rnn.models import CharModel, build_model
from char_rnn.ops.matching import find_matches, find_matches_reference
from char_rnn.training.train_step import Precision, TrainStep
from char_rnn.utils.config import Config, ModelConfig

SMALL = Sizes(
    hidden=12, batch=(4, 8), steps=20, trained=(2, 8), large=(258, 4), draws=64, leak_hidden=32, leak_steps=10
)


def doctor(setup: Setup) -> Found:
    """The checks of `char-rnn doctor`: the device in float32 against the CPU in float64."""
    report = examine_backends([Backend(setup.device)], speed=False, sizes=SMALL if setup.small else None)
    for each in report.checks:
        passed = None if each.status == "not run" else each.status == "passed"
        yield Check(f"{each.check} {each.cell or ''}".rstrip(), passed, each.words, each.off, each.allowed)


TOLERANCES = {  # log-probabilities in nats; the gradient as a fraction of its norm, in float16 without a loss scale
    "float32": (LOG_PROBS, GRADIENT),
    "float64": (1e-10, 1e-9),
    "bfloat16": (0.05, 0.1),
    "float16": (0.02, 0.1),
}
NORMED = 5  # times as much in half precision for normalization inside cells, which divides the zeros of a first step


def equality(setup: Setup) -> Found:
    """Every cell and option in every precision, forward and backward, against the CPU in float64 on the same weights.

    The model is in evaluation mode: masks that are drawn differ between devices.
    """
    sys.path.insert(0, str(TESTS))
    model_cases = import_module("model_cases")
    options = [{"type": "lstm", **each} for each in model_cases.OPTIONS] + [{"type": "lstm", "mogrifier_rounds": 3}]
    cases = [*model_cases.CELLS, *model_cases.OWN, *options]
    for case in cases[:: 4 if setup.small else 1]:
        name = ", ".join(str(value) if key == "type" else f"{key} {value}" for key, value in case.items())
        config = ModelConfig(**{"hidden_size": 16 if setup.small else 64, "num_layers": 2, "dropout": 0.0, **case})
        yield from attempt(name, partial(equality_of, setup, name, config))


def equality_of(setup: Setup, name: str, config: ModelConfig) -> Found:
    """Compare one model in every precision."""
    model, ids, answer = in_float64(config, 8, 33)
    device = torch.device(setup.device)
    for precision in setup.precisions:
        dtype = torch.float64 if precision == "float64" else torch.float32
        moved = build_like(model, config, dtype).to(device)
        with whole_float32():
            found = compute(moved, ids, device, Precision(precision, device).context())
        times = NORMED if precision.endswith("16") and config.layer_norm == "cell" else 1
        yield Check(f"{name}, {precision}", *judged(found, answer, *(each * times for each in TOLERANCES[precision])))
        if precision == "float32":
            with whole_float32():
                yield step_by_step(name, moved, ids.to(setup.device), answer.log_probs)


def in_float64(config: ModelConfig, batch: int, length: int) -> tuple[CharModel, torch.Tensor, Computed]:
    """Return a model, ids (B, T + 1), and the results in float64 on the CPU."""
    torch.manual_seed(1)
    model = build_model(config, VOCABULARY)
    ids = torch.randint(VOCABULARY, (batch, length + 1), generator=torch.Generator().manual_seed(2))
    return model, ids, compute(build_like(model, config, torch.float64), ids, CPU)


def judged(found: Computed, answer: Computed, of_logs: float, of_gradients: float) -> tuple[bool, str]:
    """Compare the results of two devices; return whether they agree, and their differences in words."""
    logs = float((found.log_probs - answer.log_probs).abs().max())
    wrong, right = (
        torch.cat([each.flatten() for each in gradients])
        for gradients in ([found.gradients[name] - grad for name, grad in answer.gradients.items()],
                          answer.gradients.values())
    )  # fmt: skip
    gradient = float(wrong.norm() / right.norm())
    words = f"{logs:.1e} nats (tolerance {of_logs:.0e}), gradient {gradient:.1e} (tolerance {of_gradients:.0e})"
    return logs <= of_logs and gradient <= of_gradients, words


def build_like(model: CharModel, config: ModelConfig, dtype: torch.dtype) -> CharModel:
    """Return a copy of a model in another type."""
    copied = build_model(config, model.vocab_size, dtype=dtype)
    copied.load_state_dict(model.state_dict())
    return copied.eval()


@torch.no_grad()
def step_by_step(name: str, model: CharModel, ids: torch.Tensor, answer: torch.Tensor) -> Check:
    """Read the same text in parts of one and more symbols, carrying the state, as sampling and evaluation do."""
    parts, hidden = [], None
    for part in torch.split(ids[:, :-1], [1, 1, 5, ids.shape[1] - 8], 1):
        log_probs, hidden = model(part, hidden)
        parts.append(exact(log_probs))
    off = judge_log_probs(torch.cat(parts, 1), answer).off
    return within(f"{name}: in parts, with carried state", off, LOG_PROBS)


def scan(setup: Setup) -> Found:
    """The parallel scan of mingru and minlstm over long sequences: gradients against the CPU in float64."""
    lengths = (16, 64) if setup.small else (64, 256, 1024)
    for kind in ("mingru", "minlstm"):
        for length in lengths:
            config = ModelConfig(type=kind, hidden_size=32, num_layers=1, dropout=0.0)
            model, ids, answer = in_float64(config, 4, length)
            with whole_float32():
                found = compute(model.eval().to(setup.device), ids, torch.device(setup.device))
            off = judge_gradients(found.gradients, answer.gradients).off
            yield within(f"{kind}, {length} steps: gradients", off, GRADIENT)


def matches(setup: Setup) -> Found:
    """The search for matches by sorting, symbol by symbol equal to the reference; time and memory of a step."""
    batch, time_, window = (2, 8, 64) if setup.small else (16, 64, 16_384)
    text = text_of(Shape(batch=batch, length=time_ + window), 1)
    ids = torch.from_numpy(np.asarray(text.ids[: batch * (time_ + window)], np.int64)).view(batch, -1) % 6
    history, x = (ids[:, :window] + 1).int(), ids[:, window:]
    device = torch.device(setup.device)
    few = slice(0, 2)
    expected, _ = find_matches_reference(x[few, :8], history[few, -256:], (3, 6))
    found, _ = find_matches(x[few, :8].to(device), history[few, -256:].to(device), (3, 6))
    yield Check("matches in 256 symbols", torch.equal(found.cpu(), expected), "compared with the reference")
    lengths = (4, 7, 12)
    expected, _ = find_matches(x, history, lengths)
    on_device = x.to(device), history.to(device)
    found, after = find_matches(*on_device, lengths)
    yield Check(f"matches in {window:,} symbols", torch.equal(found.cpu(), expected), "compared with the CPU")
    yield Check("history after a step", torch.equal(after.cpu(), torch.cat([history, x + 1], 1)[:, -window:].int()))
    with peak_memory(setup) as peak:
        timing = timed_each({"": repeated(lambda: find_matches(*on_device, lengths), setup.device)}, 5, 0.1)[""]
    size = f"{batch} x {time_}, window {window:,}, {len(lengths)} lengths"
    yield Figure("Search for matches", {"size": size, "ms": 1e3 * timing.median, **peak()})


def waits(setup: Setup) -> Found:
    """How often, and where, a training step waits for the device; on CUDA only."""
    if setup.device != "cuda":
        yield Check("waits for the device", None, "only CUDA reports them")
        return
    for name, section in STEPS.items():
        config = Config.model_validate(section)
        model = build_model(config.model, VOCABULARY)
        stepper = TrainStep(model.cuda(), config.training, torch.device("cuda"), 16)
        ids = torch.randint(VOCABULARY, (16, 65))
        hidden = None
        for _ in range(3):
            _, hidden = stepper.step(ids[:, :-1], ids[:, 1:], hidden, 1e-3)
            stepper.averaging.after_step(1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            stepper.step(ids[:, :-1], ids[:, 1:], hidden, 1e-3)
            stepper.averaging.after_step(1)
            torch.cuda.set_sync_debug_mode("default")
        places = [f"{Path(each.filename).name}:{each.lineno}" for each in caught]
        yield Figure("Waits of a step", {"model": name, "waits": len(places), "places": ", ".join(places)})


STEPS: Mapping[str, Any] = {
    "lstm": {"model": {"hidden_size": 128}},
    "slstm, matches, ema": {
        "model": {"type": "slstm", "hidden_size": 128, "match_lengths": [4]},
        "training": {"averaging": "ema"},
    },
    "minlstm, bfloat16": {"model": {"type": "minlstm", "hidden_size": 128}, "training": {"precision": "bfloat16"}},
}


PARTS = {
    "doctor": Part(doctor, 14),
    "equality": Part(equality, 12),
    "scan": Part(scan, 3),
    "matches": Part(matches, 3),
    "waits": Part(waits, 3),
}
