"""The one file a model is: weights, configuration, vocabulary and where it came from, in a ``.safetensors``.

Layout: a safetensors file (8-byte little-endian header length, a JSON header, the raw tensors). The tensors carry the
names of the model's state dict. The header's ``__metadata__`` holds five strings:

    format           "char-rnn"
    format_version   "1", or "2" with matrices in 8 bits
    config           the run's whole configuration, as JSON (``char_rnn.utils.config.Config``)
    vocabulary       ``Vocabulary.to_dict()``, as JSON
    training         step, epoch, losses, data, versions, as JSON; for reading only

In version 2, each matrix NAME, (R, C), is int8, and NAME.scales, (R,), float32: row r of the matrix is NAME[r] times
NAME.scales[r]. Vectors are as in version 1.

Reading runs nothing, imports no torch, and allocates at most the size of the file (in 8 bits, four times it).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.models.quantization import SCALES, read_from_8_bits, stored_in_8_bits
from char_rnn.utils.config import Config
from char_rnn.utils.hub import is_address
from char_rnn.utils.model_files import (
    FORMAT,
    FORMAT_VERSION,
    PLAIN_VERSION,
    ModelFileError,
    Shape,
    described,
    find_model,
    is_in_8_bits,
    read_config,
    read_shapes,
    read_tensors,
    write_tensors,
)

NUMBERS = ("step", "epoch", "seconds", "best_val_loss", "best_step", "new_symbols")
VERSIONS = {"char_rnn": "char-rnn", "torch": "PyTorch", "python": "Python", "threads": "CPU threads"}
"""Facts about the training that name its software, and their names in a text."""
PATHS = {"data", "init_from", "teacher", "data_dir", "checkpoint_dir", "checkpoint_name", "input_h5", "input_json"}
"""Facts about the training, and options of 2015's programs, that are paths."""


@dataclass
class ModelFile:
    """Contents of a model file.

    Attributes:
        config: the configuration the model was trained with.
        vocabulary: the symbols its ids stand for.
        tensors: the state dict as NumPy arrays; names and shapes as in the PyTorch modules.
        training: facts about the training (``step``, ``epoch``, ``best_val_loss`` in nats per symbol, ...).
        in_8_bits: whether the file stores the matrices in 8 bits. `read` returns the float32 numbers that they stand
            for; `write` rounds others.
    """

    config: Config
    vocabulary: Vocabulary
    tensors: Mapping[str, np.ndarray]
    training: Mapping[str, Any] = field(default_factory=dict)
    in_8_bits: bool = False

    @property
    def stored(self) -> Mapping[str, np.ndarray]:
        """The arrays of the file by name."""
        return stored_in_8_bits(self.tensors) if self.in_8_bits else self.tensors

    @property
    def number_types(self) -> list[str]:
        """The names of the types of the file's arrays, in alphabetical order."""
        return sorted({array.dtype.name for array in self.stored.values()})

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(tensor.size for tensor in self.tensors.values())

    def without_paths(self) -> ModelFile:
        """Return the model as it can be shared: its text, its teachers and the model it began with by name, no path."""
        training = _names_only(self.training)
        changes = {
            "data": {"data_dir": str(training.get("data") or "text"), "cache_dir": None},
            "logging": {"log_dir": None, "checkpoint_dir": "runs"},
        }
        if (teacher := self.config.training.teacher) is not None:
            changes["training"] = _names_only({"teacher": teacher})
        return replace(self, config=self.config.changed(**changes), training=training)

    def summary(self) -> dict[str, Any]:
        """Return cell, sizes, parameters, data, loss, suggested primes and temperature in JSON types.

        The data is a name without its path; a loss that is not finite is None.
        """
        model, training = self.config.model, self.without_paths().training
        data, loss = training.get("data"), training.get("best_val_loss")
        return {
            "cell": model.type,
            "hidden_size": model.hidden_size,
            "num_layers": model.num_layers,
            "parameters": self.parameters,
            "data": None if data is None else str(data),
            "loss": loss if isinstance(loss, int | float) and math.isfinite(loss) else None,
            "suggested_primes": self.config.generation.suggested_primes or [],
            "temperature": self.config.generation.temperature,
        }

    def write(self, path: str | Path) -> Path:
        """Write the file in one step: whoever reads ``path`` sees the old file or the new one, never a part.

        Raises:
            ModelFileError: it could not be read back, as a fact about the training is not what `read` takes.
            OSError: the folder cannot be written or the disk is full; an earlier file at ``path`` is untouched.
        """
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION if self.in_8_bits else PLAIN_VERSION),
            "config": json.dumps(self.config.model_dump(mode="json")),
            "vocabulary": json.dumps(self.vocabulary.to_dict()),
            "training": json.dumps(dict(self.training)),
        }
        _description(Path(path), metadata)  # what is written can be read
        write_tensors(path, self.stored, metadata)
        return Path(path)

    @classmethod
    def read(cls, path: str | Path, *, any_cell: bool = False) -> ModelFile:
        """Read a model file, the best model of a run folder, or the model ``demo`` in the package.

        Args:
            path: The model file or run folder.
            any_cell: Accept a cell that is not defined here.

        Raises:
            FileNotFoundError: there is no such file, or the folder holds no model.
            ModelFileError: not a model file of this program, damaged, or of a later version.
        """
        path = find_model(path)
        tensors, metadata = read_tensors(path)
        config, vocabulary, training = _description(path, metadata, any_cell)
        in_8_bits = is_in_8_bits(metadata)
        return cls(config, vocabulary, read_from_8_bits(path, tensors) if in_8_bits else tensors, training, in_8_bits)


@dataclass(frozen=True)
class ModelHeader:
    """Metadata of a model file, without the weights.

    Attributes:
        config, vocabulary, training: as in ``ModelFile``.
        shapes: the shape of each tensor.
    """

    config: Config
    vocabulary: Vocabulary
    shapes: Mapping[str, Shape]
    training: Mapping[str, Any]

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(map(math.prod, self.shapes.values()))

    @classmethod
    def read(cls, path: str | Path, *, any_cell: bool = False) -> ModelHeader:
        """Read the header of a model file, or of the best model of a run folder; its size does not matter.

        Arguments and errors are those of `ModelFile.read`.
        """
        path = find_model(path)
        shapes, metadata = read_shapes(path)
        config, vocabulary, training = _description(path, metadata, any_cell)
        if is_in_8_bits(metadata):
            shapes = {name: shape for name, shape in shapes.items() if not name.endswith(SCALES)}
        return cls(config, vocabulary, shapes, training)


def _description(
    path: Path, metadata: Mapping[str, str], any_cell: bool = False
) -> tuple[Config, Vocabulary, dict[str, Any]]:
    """Return the configuration, the vocabulary and the facts about the training that a model file tells."""
    config = read_config(path, metadata, any_cell)
    with described(path):
        vocabulary = Vocabulary.from_dict(json.loads(metadata["vocabulary"]))
        training = json.loads(metadata.get("training", "{}"))
    _check_training(path, training)
    return config, vocabulary, training


def _names_only(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts with the last parts of the paths in them, of POSIX and of Windows."""
    shown: dict[str, Any] = {}
    for name, value in facts.items():
        if name in PATHS and isinstance(value, str | list):
            paths = [value] if isinstance(value, str) else value
            names = [_name_of(path) if isinstance(path, str) else path for path in paths]
            shown[name] = names[0] if isinstance(value, str) else names
        else:
            shown[name] = _names_only(value) if isinstance(value, Mapping) else value
    return shown


def _name_of(path: str) -> str:
    return path if is_address(path) else PureWindowsPath(path).name


def _check_training(path: Path, training: Any) -> None:
    """Check the facts that commands compute with; anything else in them is for reading only."""
    if not isinstance(training, dict):
        raise ModelFileError(f"{path}: its description of the model is damaged (training is not a table)")
    for name in NUMBERS:
        if name in training and (isinstance(training[name], bool) or not isinstance(training[name], (int, float))):
            raise ModelFileError(f"{path}: its description of the model is damaged (training.{name} is not a number)")
