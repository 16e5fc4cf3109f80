"""The char-rnn of 2015, on Torch7: its files, its options, and what it computed.

The names of ``__all__`` are imported on first use. Reading a file needs NumPy only. The options of train.lua are here
as settings, for its command line and for ``opt`` in its checkpoints.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from char_rnn.torch7.checkpoints import read_model
    from char_rnn.torch7.t7.reader import load
    from char_rnn.torch7.t7.values import Function, T7Error, Table, TorchObject

_HOMES = {
    "Function": "t7.values",
    "T7Error": "t7.values",
    "Table": "t7.values",
    "TorchObject": "t7.values",
    "load": "t7.reader",
    "read_model": "checkpoints",
}

FLAGS = {
    "rnn_size": "model.hidden_size",
    "num_layers": "model.num_layers",
    "model": "model.type",
    "dropout": "model.dropout",
    "learning_rate": "training.learning_rate",
    "learning_rate_decay": "training.learning_rate_decay",
    "learning_rate_decay_after": "training.learning_rate_decay_after",
    "decay_rate": "training.decay_rate",
    "seq_length": "training.seq_length",
    "batch_size": "training.batch_size",
    "max_epochs": "training.max_epochs",
    "grad_clip": "training.grad_clip",
    "eval_val_every": "training.eval_interval",
    "train_frac": "data.train_frac",
    "val_frac": "data.val_frac",
    "print_every": "logging.log_interval",
    "checkpoint_dir": "logging.checkpoint_dir",
    "savefile": "logging.savefile",
}
"""Configuration key of each option that is not a name of one of today's."""

IMPLIED = {
    "learning_rate_decay": "training.schedule=exponential",
    "learning_rate_decay_after": "training.schedule=exponential",
    "decay_rate": "training.optimizer=rmsprop",
}
"""Settings without which an option has no effect; ``--set`` overrides them."""

FRACTIONS = ("train_frac", "val_frac")
"""Options that are valid together only."""

__all__ = ["Function", "T7Error", "Table", "TorchObject", "load", "read_model"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"char_rnn.torch7.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'char_rnn.torch7' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
