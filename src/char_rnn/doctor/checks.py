"""The checks: each compares a device in float32 with the CPU in float64.

Tolerances: float32 on the CPU differed by at most 6e-7 nats, 8e-7 of a gradient's largest element, 6e-5 nats after 200
steps, and 1.1e-4 of the distance that a parameter moved in them (all cells, H of 32 and 64, three seeds, one and two
threads). About a hundred times as much is allowed, for devices with faster functions and other orders of summation.

Dimensions: B batch, T time, H hidden, V vocabulary, R rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from char_rnn.doctor.problem import CELLS, CPU, LAYERS, RATE, SEED, Backend, Computed, Problem, compute, exact
from char_rnn.doctor.report import DRAWING
from char_rnn.models import CharModel
from char_rnn.ops import State
from char_rnn.training.train_step import TrainStep
from char_rnn.utils.config import TrainingConfig
from char_rnn.utils.device import synchronize

LOG_PROBS, GRADIENT, LOSS, PARAMETERS = 5e-5, 1e-4, 5e-3, 1e-2
NAMED = 3  # parameters with wrong gradients that a message names
SIGMAS = 6.0


@dataclass(frozen=True)
class Finding:
    """The outcome of a check: what `CheckResult` has of it."""

    passed: bool
    words: str
    off: float | None = None
    allowed: float | None = None


def forward(backend: Backend, problem: Problem) -> Finding:
    """Log-probabilities; the error is in nats."""
    found = compute(backend.place(problem.model()), problem.ids(*problem.sizes.batch), backend.device)
    return judge_log_probs(found.log_probs, problem.answer.log_probs)


def gradients(backend: Backend, problem: Problem) -> Finding:
    """Every parameter's gradient; the error is a fraction of its largest element."""
    found = compute(backend.place(problem.model()), problem.ids(*problem.sizes.batch), backend.device)
    return judge_gradients(found.gradients, problem.answer.gradients)


def training(backend: Backend, problem: Problem) -> Finding:
    """The last loss and the parameters; the error is a fraction of the distance that a parameter moved."""
    after = f"after {problem.sizes.steps} steps"
    found, answer = problem.train(backend.place(problem.model()), backend.device), problem.trained
    loss_off = abs(found.loss - answer.loss)
    if not loss_off <= LOSS:
        words = f"{after} the loss is {found.loss:.4f}, in float64 {answer.loss:.4f} (tolerance {LOSS:.0e})"
        return Finding(False, words, loss_off, LOSS)
    errors = {}
    for name, right in answer.parameters.items():
        errors[name] = float((found.parameters[name] - right).norm() / (right - answer.start[name]).norm())
    worst = max(errors, key=lambda name: _nan_last(errors[name]))
    off = errors[worst]
    words = f"{after} {worst} is off by {_percent(off)} of the distance it moved (tolerance {_percent(PARAMETERS)})"
    return Finding(off <= PARAMETERS, words, off, PARAMETERS)


def judge_log_probs(found: Tensor, answer: Tensor, where: str = "") -> Finding:
    """Compare log-probabilities by their largest difference."""
    off = float((found - answer).abs().max())
    words = f"log-probabilities{where} are off by {off:.1e} nats (tolerance {LOG_PROBS:.0e})"
    return Finding(off <= LOG_PROBS, words, off, LOG_PROBS)


def judge_gradients(found: Mapping[str, Tensor], answer: Mapping[str, Tensor]) -> Finding:
    """Compare gradients by parameter: the largest difference over the reference's largest element."""
    errors = dict.fromkeys(answer, math.nan)
    for name in found.keys() & answer.keys():
        errors[name] = float((found[name] - answer[name]).abs().max() / answer[name].abs().max())
    wrong = {name: error for name, error in errors.items() if not error <= GRADIENT}
    off = max(errors.values(), key=_nan_last)
    if not wrong:
        return Finding(True, f"every gradient is within {off:.1e} of its largest element", off, GRADIENT)
    worst = sorted(wrong, key=lambda name: _nan_last(wrong[name]), reverse=True)
    named = ", ".join(f"{_percent(wrong[name])} ({name})" for name in worst[:NAMED])
    more = f" and in {len(worst) - NAMED} more parameters" if len(worst) > NAMED else ""
    return Finding(False, f"gradients are off by {named}{more}; tolerance {_percent(GRADIENT)}", off, GRADIENT)


def _percent(share: float) -> str:
    return f"{share:,.0%}" if share > 0.1 else f"{100 * share:.2g}%"


def _nan_last(error: float) -> float:
    return math.inf if math.isnan(error) else error


SHARE = 0.5  # of the units that dropout drops
KEPT, SCALED = 1 / (1 - SHARE), 1e-5


def dropout(backend: Backend, problem: Problem) -> Finding:
    """Dropout between the layers and after the top one; the error is a fraction of a gradient's largest element.

    On MPS the dropout of a multi-layer ``nn.LSTM`` was missing from the gradients (pytorch issue 190056), gave NaN
    (190057), repeated its mask at every call (185351) and was active in evaluation (180744). The models of this package
    have their own. The check records what each layer returns and what dropout makes of it, and computes the gradients
    again in float64 with the same masks.
    """
    torch.manual_seed(SEED)
    model = backend.place(problem.model(dropout=SHARE))
    ids = problem.ids(*problem.sizes.batch)
    watch = _Watch(model)
    found = compute(model, ids, backend.device)
    first, scaled = watch.masks(), watch.scaling_error()
    compute(model, ids, backend.device)
    complaint = _about_masks(first, watch.masks(), scaled) or _about_evaluation(model, watch, ids.to(backend.device))
    if complaint:
        return Finding(False, complaint)
    answer = _replay(problem, ids, first)
    finding = judge_log_probs(found.log_probs, answer.log_probs, " with dropout")
    return judge_gradients(found.gradients, answer.gradients) if finding.passed else finding


class _Watch:
    """Records what the layers of a model return, and what dropout makes of it."""

    def __init__(self, model: CharModel) -> None:
        self._run_layer = model.run_layer
        self._outputs: list[Tensor] = []
        self._dropped: list[Tensor] = []
        model.run_layer = self._watched  # type: ignore[method-assign]
        model.output_proj.register_forward_pre_hook(lambda _, inputs: self._dropped.append(exact(inputs[0])))

    def masks(self) -> list[Tensor]:
        """Return for each layer which units the last pass kept: 1 or 0, (B, T, H)."""
        return [(dropped != 0).double() for dropped in self._dropped]

    def scaling_error(self, kept: float = KEPT) -> float:
        """Return the largest difference of the kept units from ``kept`` times the layer's output."""
        layers = zip(self._outputs, self._dropped, self.masks(), strict=True)
        return max(float((dropped - kept * mask * output).abs().max()) for output, dropped, mask in layers)

    def _watched(self, x: Tensor, *others: Any, **options: Any) -> tuple[Tensor, State]:
        if len(self._outputs) == LAYERS:
            self._outputs.clear()
            self._dropped.clear()
        if self._outputs:
            self._dropped.append(exact(x))
        output, state = self._run_layer(x, *others, **options)
        self._outputs.append(exact(output))
        return output, state


def _about_masks(first: list[Tensor], second: list[Tensor], scaled: float) -> str:
    """Return what is wrong with the masks of two calls, or an empty text."""
    margin = SIGMAS * math.sqrt(SHARE * (1 - SHARE) / first[0].numel())
    for layer, (mask, other) in enumerate(zip(first, second, strict=True), 1):
        share = 1 - float(mask.mean())
        if not abs(share - SHARE) <= margin:
            return f"after layer {layer} {share:.1%} of the units are dropped, not {SHARE:.0%}"
        if _agreement(mask, other) > 0.5 + margin:
            return f"after layer {layer} the same units are dropped at every call ({_agreement(mask, other):.0%} agree)"
    if _agreement(*first) > 0.5 + margin:
        return f"the same units are dropped after both layers ({_agreement(*first):.0%} agree)"
    if not scaled <= SCALED:
        return f"the kept units are not scaled by {KEPT:g} (off by {scaled:.1e})"
    return ""


def _agreement(mask: Tensor, other: Tensor) -> float:
    """Return the fraction of units with the same value in two masks: 0.5 if they are independent."""
    return float((mask == other).double().mean())


@torch.no_grad()
def _about_evaluation(model: CharModel, watch: _Watch, ids: Tensor) -> str:
    """Return what is wrong in evaluation after an optimizer step, or an empty text."""
    torch.optim.SGD(model.parameters(), lr=1e-2).step()
    model.eval()
    whole = exact(model(ids)[0])
    if watch.scaling_error(kept=1.0) > 0:
        return "units are dropped in evaluation"
    few = max(1, len(ids) // 4)
    off = float((exact(model(ids[:few])[0]) - whole[:few]).abs().max())
    if not off <= LOG_PROBS:
        return f"evaluation depends on the batch size: off by {off:.1e} nats (tolerance {LOG_PROBS:.0e})"
    return ""


def _replay(problem: Problem, ids: Tensor, masks: list[Tensor]) -> Computed:
    """Compute the pass in float64 on the CPU with these masks."""
    model = problem.model(torch.float64)
    run_layer, left = model.run_layer, iter(masks)

    def masked(*given: Any, **options: Any) -> tuple[Tensor, State]:
        output, state = run_layer(*given, **options)
        return KEPT * output * next(left), state

    model.run_layer = masked  # type: ignore[method-assign]
    return compute(model, ids, CPU)


def batch_change(backend: Backend, problem: Problem) -> Finding:
    """Gradients after a change of the batch size, twice; the error is a fraction of a gradient's largest element.

    On MPS they were at least 1,000 times too large when batch x time exceeded 32,768 after a pass with another batch
    size (pytorch issue 177116).
    """
    model = backend.place(problem.model())
    small, large = problem.ids(*problem.sizes.batch), problem.ids(*problem.sizes.large)
    findings = []
    for _ in range(2):
        compute(model, small, backend.device)
        found = compute(model, large, backend.device)
        findings.append(judge_gradients(found.gradients, problem.large_answer.gradients))
    finding = next((finding for finding in findings if not finding.passed), findings[-1])
    batch, time = problem.sizes.large
    return replace(finding, words=f"with a batch of {batch:,} x {time} after one of {len(small)}: {finding.words}")


STRETCHES, KIB = 4, 1024
ALLOWED = {"allocated": 1 * KIB, "reserved": 128 * KIB, "rss": 128 * KIB}
"""Bytes per step. Tensors are counted exactly; pools and the process grow by blocks now and then."""


def memory(backend: Backend, problem: Problem) -> Finding:
    """Growth of memory over training steps; the error is in bytes per step.

    On MPS it grew with every step until none was left (pytorch issues 145374, 164299). A second run repeats a leak, but
    not what a process needs once.
    """
    finding = _measure_memory(backend, problem)
    return finding if finding.passed else _measure_memory(backend, problem)


def _measure_memory(backend: Backend, problem: Problem) -> Finding:
    """Train, and read the memory after every step but those of the first stretch."""
    sizes = problem.sizes
    model = backend.place(CELLS[problem.cell](sizes.vocabulary, sizes.leak_hidden, LAYERS))
    stepper = TrainStep(model, TrainingConfig(), backend.device)
    ids = problem.ids(*sizes.batch)
    readings = []
    for _ in range((2 + STRETCHES) * sizes.leak_steps):
        stepper.step(ids[:, :-1], ids[:, 1:], None, RATE)
        synchronize(backend.device)
        readings.append(backend.memory())
    readings = readings[sizes.leak_steps :]
    growth = {kind: growth_per_step([each[kind] for each in readings], sizes.leak_steps) for kind in readings[0]}
    if not growth:
        return Finding(True, "this system does not report the memory in use")
    worst = max(growth, key=lambda kind: growth[kind] / ALLOWED[kind])
    off, allowed = max(0.0, growth[worst]), float(ALLOWED[worst])
    grows = f"memory ({worst}) grows by {off / KIB:,.0f} KiB per step (tolerance {allowed / KIB:.0f})"
    return Finding(off <= allowed, f"over {STRETCHES * sizes.leak_steps} steps {grows}", off, allowed)


def growth_per_step(readings: list[int], steps: int) -> float:
    """Return the bytes per step by which the memory grew, from its minimum in each stretch of ``steps`` readings.

    Memory goes up and down by megabytes as pools and the heap fill and empty, hence the minimum. Memory that is merely
    kept grows in one stretch; a leak grows in all of them, unless freed memory absorbs it for a while. So the stretch
    with the second largest growth counts, and half of the total growth if that is less: memory that falls again has not
    leaked.
    """
    floors = [min(readings[first : first + steps]) for first in range(0, len(readings), steps)]
    second = sorted(after - before for before, after in pairwise(floors))[-2]
    return min(second, (floors[-1] - floors[0]) / 2) / steps


ITEMS, ROWS, REPEATED = 65_536, 64, 100_000
POSSIBLE = {17: 0.5, 40_000: 0.3, ITEMS - 1: 0.2}


def drawing(backend: Backend, problem: Problem) -> Finding:
    """Draws from three possible items among 65,536, one per row and many per row.

    On MPS ``torch.multinomial`` drew items of probability zero, about once in 3e7 random numbers (pytorch issue
    192577), and items that do not exist (136623). This package samples on the CPU with NumPy, whatever the device.
    """
    torch.manual_seed(SEED)
    row = torch.zeros(ITEMS)
    row[list(POSSIBLE)] = torch.tensor(list(POSSIBLE.values()))
    row = row.to(backend.device)
    rows = row.expand(ROWS, -1).contiguous()
    count = problem.sizes.draws * (1 if backend.device.type == "cpu" else 6)
    rounds = range(-(-count // ROWS))
    singly = torch.cat([backend.draw(rows, 1, replacement=False).flatten() for _ in rounds])
    repeated = backend.draw(row.unsqueeze(0), REPEATED, replacement=True).flatten()
    complaint = _about_draws(singly, "one per row") or _about_draws(repeated, "many per row")
    drawn = f"{len(singly) + len(repeated):,} draws, all of possible items, with the right frequencies"
    return Finding(not complaint, complaint or drawn)


def _about_draws(drawn: Tensor, how: str) -> str:
    """Return what is wrong with the items drawn, or an empty text."""
    impossible = sum(item not in POSSIBLE for item in drawn.tolist())
    if impossible:
        return f"items of probability zero are drawn: {impossible:,} of {len(drawn):,} ({how})"
    for item, probability in POSSIBLE.items():
        share = float((drawn == item).double().mean())
        if abs(share - probability) > SIGMAS * math.sqrt(probability * (1 - probability) / len(drawn)):
            return f"an item of probability {probability:g} is drawn with frequency {share:.3f} ({how})"
    return ""


@dataclass(frozen=True)
class Check:
    """A check of one cell. ``needs`` names the check that has to pass first; ``issues`` are those of PyTorch.

    A ``large`` check uses all CPU threads; the other models are too small for two.
    """

    name: str
    run: Callable[[Backend, Problem], Finding]
    needs: str | None = None
    issues: tuple[int, ...] = ()
    large: bool = False


CHECKS = (
    Check("forward", forward),
    Check("gradients", gradients, "forward"),
    Check("training", training, "gradients"),
    Check("dropout", dropout, "gradients", (180744, 185351, 190056, 190057)),
    Check("memory", memory, "forward", (145374, 164299)),
    Check("batch change", batch_change, "gradients", (177116,), large=True),
)
DRAWING_CHECK = Check(DRAWING, drawing, issues=(136623, 192577))
"""The only check without a model: of a problem it uses the sizes."""
