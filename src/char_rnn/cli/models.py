"""Opens what MODEL means on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    from char_rnn.torch7.t7 import is_t7

    path = find_model(model)
    if not is_t7(path):
        return ModelFile.read(path)
    from char_rnn.torch7.checkpoints import read_model

    return read_model(path)


def reading_of(file: ModelFile, encoding: str | None) -> dict[str, Any]:
    """Return how a model's text is read: its options for ``prepare_corpus`` and ``find_locations``.

    Args:
        file: The model.
        encoding: In place of the one the model was trained with.
    """
    data = file.config.data
    return {"encoding": encoding or data.encoding, "separator": data.separator, "file_order": data.file_order}
