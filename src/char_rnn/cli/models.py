"""Opens what MODEL means on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from char_rnn.model_file import ModelFile


def open_model(model: str | Path) -> ModelFile:
    """Read a run folder (its best model), a ``.safetensors`` file, or a ``.t7`` checkpoint of 2015.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is no model; the message says why.
    """
    from char_rnn.model_file import ModelFile, find_model
    from char_rnn.torch7.convert import is_t7, read_model

    path = find_model(model)
    return read_model(path) if is_t7(path) else ModelFile.read(path)
