"""Checkpoints of torch-rnn (jcjohnson) as model files.

A checkpoint is a table: ``model`` (an ``nn.LanguageModel``, with its tokens), ``opt`` (the command line), the histories
of the losses, and ``i``. What the network becomes stands in :mod:`char_rnn.torch7.checkpoints.torch_rnn_net`; as with
char-rnn, ``opt`` is not asked for its sizes.


The tokens of a torch-rnn model as a vocabulary.
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
    training_facts,
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


def is_torch_rnn(top: Table) -> bool:
    """Say whether a file's table is a checkpoint of torch-rnn."""
    model = top.get("model")
    return isinstance(model, TorchObject) and model.class_name == "nn.LanguageModel"


def read_torch_rnn(top: Table) -> ModelFile:
    """Make a model file of a checkpoint's table.

    Raises:
        CheckpointFormatError: it is none, or not one this program knows.
    """
    model = module(top.get("model"), "model")
    network = read_network(module(field(model, "net", "model"), "model.net"))
    tensors = network.tensors()
    vocabulary = read_tokens(table(model, "idx_to_token", "model"))
    vocab_size = len(tensors["output_proj.bias"])
    if not vocabulary.size == vocab_size == len(tensors["embedding.weight"]):
        raise CheckpointFormatError(
            f"model.idx_to_token has {vocabulary.size} tokens, but the network reads "
            f"{len(tensors['embedding.weight'])} and predicts {vocab_size}"
        )
    options = scalars(top.get("opt"))
    settings = {
        "model.type": network.cell,
        "model.hidden_size": tensors["output_proj.weight"].shape[1],
        "model.num_layers": len(network.layers),
        "model.dropout": network.dropout,
        "model.embedding": "learned",
        "model.embedding_size": tensors["embedding.weight"].shape[1],
        "training.precision": tensors["output_proj.weight"].dtype.name,
        "training.weight_decay": 0.0,
        "training.warmup_steps": 0,
        "data.vocabulary": vocabulary.kind,
    }
    config = make_config(None, settings, settings_in(options, _OPTIONS))
    return ModelFile(config, vocabulary, tensors, _facts(top, options))


def _facts(top: Table, options: Mapping[str, Scalar]) -> dict[str, Any]:
    histories = {name: top.get(name) for name in ("train_loss_history", "val_loss_history", "val_loss_history_it")}
    train, val, places = (value.array() if isinstance(value, Table) else [] for value in histories.values())
    measured = [(int(place), loss) for place, loss in zip(places, losses(val), strict=False) if is_finite(place)]
    step = top.get("i")
    if step is None and measured:
        step = float(measured[-1][0])  # not written before 2016-04-24
    facts = training_facts(step=step, epoch=None, data=options.get("input_h5"), val_losses=dict(measured))
    facts["torch_rnn"] = {
        "opt": dict(options),
        "train_losses": losses(train[:MAX_LOSSES]),
        "val_losses": {str(place): loss for place, loss in measured},
    }
    return facts


_BYTE = re.compile(rb"\[(1(?:2[89]|[3-9]\d)|2(?:[0-4]\d|5[0-5]))\]")  # [128] to [255]


def read_tokens(idx_to_token: Table) -> Vocabulary:
    """Return the vocabulary of a table token by index, in its order.

    Tokens are characters in UTF-8; with ``preprocess.py --encoding bytes`` they are ASCII characters, and other bytes
    are written as "[195]".

    Raises:
        CheckpointFormatError: they are not numbered from 1 on, or are something else.
    """
    tokens = idx_to_token.array()
    if not tokens or len(tokens) != len(idx_to_token) or not all(isinstance(token, bytes) for token in tokens):
        raise CheckpointFormatError("model.idx_to_token does not give a token to every index from 1 on")
    try:
        if any(_BYTE.fullmatch(token) for token in tokens):
            return Vocabulary("bytes", [_byte(token) for token in tokens])
        return Vocabulary("characters", [ord(token.decode()) for token in tokens])
    except (ValueError, TypeError):
        raise CheckpointFormatError(
            "model.idx_to_token holds tokens that are not single characters, each once"
        ) from None


def _byte(token: bytes) -> int:
    written = _BYTE.fullmatch(token)
    return int(written[1]) if written else ord(token.decode("ascii"))
