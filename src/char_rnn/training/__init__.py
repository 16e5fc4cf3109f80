"""Training: the loop, its schedule, its checkpoints, and what it measures."""

from char_rnn.training.callbacks import Callback
from char_rnn.training.checkpoints import CheckpointError
from char_rnn.training.evaluation import Evaluation, TrainingResult, evaluate, evaluate_mean
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.trainer import CharRNNTrainer

__all__ = [
    "Callback",
    "CharRNNTrainer",
    "CheckpointError",
    "Evaluation",
    "TrainingDiverged",
    "TrainingResult",
    "evaluate",
    "evaluate_mean",
]
