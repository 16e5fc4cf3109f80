"""Training: the loop, its schedule, its checkpoints, and what it measures.

The names below are imported on first use, so that reading finished runs does not load PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.training.callbacks import Callback
    from char_rnn.training.checkpoints import CheckpointError
    from char_rnn.training.evaluation import Evaluation, TrainingResult, evaluate
    from char_rnn.training.loss import TrainingDiverged
    from char_rnn.training.run import Trained, train
    from char_rnn.training.trainer import CharRNNTrainer

_HOMES = {
    "Callback": "callbacks",
    "CharRNNTrainer": "trainer",
    "CheckpointError": "checkpoints",
    "Evaluation": "evaluation",
    "Trained": "run",
    "TrainingDiverged": "loss",
    "TrainingResult": "evaluation",
    "evaluate": "evaluation",
    "train": "run",
}

__all__ = [
    "Callback",
    "CharRNNTrainer",
    "CheckpointError",
    "Evaluation",
    "Trained",
    "TrainingDiverged",
    "TrainingResult",
    "evaluate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"char_rnn.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'char_rnn.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
