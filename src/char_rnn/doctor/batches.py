"""Gradients after a change of the batch's size.

On MPS they have been 1,000 times too large and more when batch x time passed 32,768 after a pass at another batch size
(pytorch issue 177116).
"""

from __future__ import annotations

from char_rnn.doctor.backend import Backend
from char_rnn.doctor.finding import Finding, judge_gradients
from char_rnn.doctor.numbers import GRADIENT
from char_rnn.doctor.problem import Problem, compute


def batch_change(backend: Backend, problem: Problem) -> Finding:
    """Go twice from a small batch to a large one; the error is a part of a gradient's largest element."""
    model = backend.place(problem.model())
    small, large = problem.ids(*problem.sizes.batch), problem.ids(*problem.sizes.large)
    findings = []
    for _ in range(2):
        compute(model, small, backend.device)
        found = compute(model, large, backend.device)
        findings.append(judge_gradients(found.gradients, problem.large_answer.gradients, GRADIENT))
    finding = next((finding for finding in findings if not finding.passed), findings[-1])
    batch, time = problem.sizes.large
    words = f"at a batch of {batch:,} x {time} after one of {len(small)}: {finding.words}"
    return Finding(finding.passed, words, finding.off, finding.allowed)
