"""Forward pass, gradients and training, in float32 on the device, against float64 on the CPU.

The limits: float32 on the CPU was off by at most 6e-7 nats, 8e-7 of a gradient's largest element, 6e-5 nats after 200
steps and 1.1e-4 of the way that a parameter went in them (all cells, H of 32 and 64, three seeds, one thread and two).
About a hundred times as much is allowed, for devices with quicker functions and other orders of summation.
"""

from __future__ import annotations

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.finding import Finding, judge_gradients, nan_last, percent
from char_rnn.doctor.problem import Problem, compute

LOG_PROBS, GRADIENT, LOSS, PARAMETERS = 5e-5, 1e-4, 5e-3, 1e-2


def forward(backend: Backend, problem: Problem) -> Finding:
    """Log-probabilities; the error is in nats."""
    found = compute(backend.place(problem.model()), problem.ids(*problem.sizes.batch), backend.device)
    off = float((found.log_probs - problem.answer.log_probs).abs().max())
    words = f"log-probabilities are off by {off:.1e} nats (allowed {LOG_PROBS:.0e})"
    return Finding(off <= LOG_PROBS, words, off, LOG_PROBS)


def gradients(backend: Backend, problem: Problem) -> Finding:
    """Every parameter's gradient; the error is a part of its largest element."""
    found = compute(backend.place(problem.model()), problem.ids(*problem.sizes.batch), backend.device)
    return judge_gradients(found.gradients, problem.answer.gradients, GRADIENT)


def training(backend: Backend, problem: Problem) -> Finding:
    """The last loss and the parameters; the error is a part of the way that a parameter went."""
    steps = problem.sizes.steps
    found, answer = problem.train(backend.place(problem.model()), backend.device), problem.trained
    loss_off = abs(found.loss - answer.loss)
    if not loss_off <= LOSS:
        words = (
            f"after {steps} steps the loss is {found.loss:.4f}, in float64 {answer.loss:.4f} (allowed {LOSS:.0e} apart)"
        )
        return Finding(False, words, loss_off, LOSS)
    errors = {}
    for name, right in answer.parameters.items():
        errors[name] = float((found.parameters[name] - right).norm() / (right - answer.start[name]).norm())
    worst = max(errors, key=lambda name: nan_last(errors[name]))
    off = errors[worst]
    words = f"after {steps} steps {worst} is off by {percent(off)} of the way it went (allowed {percent(PARAMETERS)})"
    return Finding(off <= PARAMETERS, words, off, PARAMETERS)
