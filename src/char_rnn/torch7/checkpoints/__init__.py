"""Conversion of .t7 checkpoints, of char-rnn and of torch-rnn, to model files."""

from __future__ import annotations

from pathlib import Path

from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_tensors
from char_rnn.torch7.checkpoints.char_rnn import read_checkpoint
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError, is_finite, kind
from char_rnn.torch7.checkpoints.torch_rnn import is_torch_rnn, read_torch_rnn
from char_rnn.torch7.t7.reader import load
from char_rnn.torch7.t7.values import Table


def read_model(path: str | Path) -> ModelFile:
    """Read a checkpoint of the 2015 char-rnn, or of torch-rnn, as a model file.

    The tensors have the file's element type (half precision becomes float32; a model with folded batch normalization is
    float64). The configuration has the file's options, and ``training`` its losses and options: under ``torch7`` those
    of char-rnn, under ``torch_rnn`` those of torch-rnn.

    Raises:
        OSError: The file cannot be read.
        T7Error: It is damaged, or not a .t7 file.
        CheckpointFormatError: It is not a checkpoint of these programs.
    """
    top = load(path)
    try:
        file = _converted(top)
        check_tensors(file.config.model, file.vocabulary.size, file.tensors)
    except ValueError as error:
        raise CheckpointFormatError(f"{path}: {error}") from None
    return file


def _converted(top: object) -> ModelFile:
    if isinstance(top, Table):
        if "protos" in top:
            return read_checkpoint(top)
        if is_torch_rnn(top):
            return read_torch_rnn(top)
    what = kind(top)
    if isinstance(top, Table):
        is_vocabulary = len(top) and all(isinstance(key, bytes) and is_finite(top[key]) for key in top)
        what = "a vocabulary, not a model" if is_vocabulary else "a table without a model"
    raise CheckpointFormatError(f"holds {what}; give a checkpoint that train.lua of char-rnn or torch-rnn wrote")
