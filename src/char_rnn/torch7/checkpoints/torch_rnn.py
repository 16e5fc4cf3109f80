"""Checkpoints of torch-rnn (jcjohnson) as model files.

A checkpoint is a table: ``model`` (an ``nn.LanguageModel``, with its tokens), ``opt`` (the command line), the loss
histories, and ``i``. :mod:`char_rnn.torch7.checkpoints.torch_rnn_net` reads the network; as with char-rnn, its sizes
are not taken from ``opt``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.torch7.checkpoints.fields import (
    MAX_LOSSES,
    CheckpointFormatError,
    Scalar,
    field,
    is_finite,
    losses,
    make_config,
    module,
    scalars,
    settings_in,
    table,
    training_metadata,
)
from char_rnn.torch7.checkpoints.torch_rnn_net import read_network
from char_rnn.torch7.t7.values import Table, TorchObject

_OPTIONS = {
    "batch_size": "training.batch_size",
    "seq_length": "training.seq_length",
    "learning_rate": "training.learning_rate",
    "max_epochs": "training.max_epochs",
    "grad_clip": "training.grad_clip",
    "checkpoint_every": "training.eval_interval",
    "print_every": "logging.log_interval",
}
_BYTE = re.compile(rb"\[(1(?:2[89]|[3-9]\d)|2(?:[0-4]\d|5[0-5]))\]")  # [128] to [255]


def is_torch_rnn(top: Table) -> bool:
    """Return whether a file's table is a checkpoint of torch-rnn."""
    model = top.get("model")
    return isinstance(model, TorchObject) and model.class_name == "nn.LanguageModel"


def read_torch_rnn(top: Table) -> ModelFile:
    """Convert a checkpoint's table to a model file.

    Raises:
        CheckpointFormatError: It is not a supported checkpoint.
    """
    model = module(top.get("model"), "model")
    network = read_network(module(field(model, "net", "model"), "model.net"))
    tensors = network.tensors()
    vocabulary = read_tokens(table(model, "idx_to_token", "model"))
    vocab_size, hidden_size = tensors["output_proj.weight"].shape
    inputs, embedding_size = tensors["embedding.weight"].shape
    if not vocabulary.size == vocab_size == inputs:
        raise CheckpointFormatError(
            f"model.idx_to_token has {vocabulary.size} tokens, but the network reads {inputs} and predicts {vocab_size}"
        )
    options = scalars(top.get("opt"))
    required = {
        "model.type": network.cell,
        "model.hidden_size": hidden_size,
        "model.num_layers": len(network.layers),
        "model.dropout": network.dropout,
        "model.embedding": "learned",
        "model.embedding_size": embedding_size,
        "training.precision": tensors["output_proj.weight"].dtype.name,
        "training.weight_decay": 0.0,
        "training.warmup_steps": 0,
        "data.vocabulary": vocabulary.kind,
    }
    config = make_config(None, required, settings_in(options, _OPTIONS))
    return ModelFile(config, vocabulary, tensors, _metadata(top, options))


def read_tokens(idx_to_token: Table) -> Vocabulary:
    """Return the vocabulary of a table of tokens by index, in its order.

    Tokens are characters in UTF-8. With ``preprocess.py --encoding bytes`` they are ASCII characters, and other bytes
    are written as "[195]".

    Raises:
        CheckpointFormatError: They are not numbered from 1, or are something else.
    """
    tokens = idx_to_token.array()
    if not tokens or len(tokens) != len(idx_to_token) or not all(isinstance(token, bytes) for token in tokens):
        raise CheckpointFormatError("model.idx_to_token does not have a token for every index from 1")
    try:
        if any(_BYTE.fullmatch(token) for token in tokens):
            return Vocabulary("bytes", [_byte(token) for token in tokens])
        return Vocabulary("characters", [ord(token.decode()) for token in tokens])
    except (ValueError, TypeError):
        raise CheckpointFormatError("model.idx_to_token has tokens that are not distinct single characters") from None


def _byte(token: bytes) -> int:
    written = _BYTE.fullmatch(token)
    return int(written[1]) if written else ord(token.decode("ascii"))


def _metadata(top: Table, options: Mapping[str, Scalar]) -> dict[str, Any]:
    histories = (top.get(name) for name in ("train_loss_history", "val_loss_history", "val_loss_history_it"))
    train, val, iterations = (value.array() if isinstance(value, Table) else [] for value in histories)
    measured = [(int(at), loss) for at, loss in zip(iterations, losses(val), strict=False) if is_finite(at)]
    step = top.get("i")
    if step is None and measured:
        step = float(measured[-1][0])  # not written before 2016-04-24
    metadata = training_metadata(step=step, epoch=None, data=options.get("input_h5"), val_losses=dict(measured))
    metadata["torch_rnn"] = {
        "opt": dict(options),
        "train_losses": losses(train[:MAX_LOSSES]),
        "val_losses": {str(at): loss for at, loss in measured},
    }
    return metadata
