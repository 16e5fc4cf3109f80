"""Training: the loop, its schedule, its checkpoints, and what it measures."""

from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import CheckpointError
from char_rnn.training.guard import TrainingDiverged
from char_rnn.training.metrics import Evaluation, evaluate
from char_rnn.training.trainer import CharRNNTrainer, TrainingResult

__all__ = [
    "Callback",
    "CharRNNTrainer",
    "CheckpointError",
    "Evaluation",
    "TrainingDiverged",
    "TrainingResult",
    "evaluate",
]
