"""The options of train.lua as today's settings, for its command line and for ``opt`` in its checkpoints."""

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
