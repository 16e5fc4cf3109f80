"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass

from char_rnn.training.evaluation import Evaluation


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        step: optimizer steps done.
        seconds: time spent, earlier parts of a resumed run included.
        val: the last evaluation of the validation split; None without one.
        best_val_loss, best_step: the lowest validation loss (nats per character) and where it was reached; infinite
            and 0 without a validation split.
        test: the test split under the best model; None without one.
        stopped: true when the run was asked to stop before its end.
        early: true when validation brought nothing new for so long that the run ended before its last step.
    """

    step: int
    seconds: float
    val: Evaluation | None
    best_val_loss: float
    best_step: int
    test: Evaluation | None
    stopped: bool
    early: bool = False
