"""Checked access to the fields of a .t7 file, and its options as today's configuration.

Functions that read or check a field raise :class:`CheckpointFormatError` if it is missing or wrong, with its path.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeGuard

import numpy as np

from char_rnn.torch7.layout import Floats
from char_rnn.torch7.t7.values import Table, TorchObject
from char_rnn.utils.config import Config, ConfigError, compose_config, with_settings

Scalar = bool | int | float | str | None
_MAX_TEXT = 4096
MAX_LOSSES = 2_000_000
"""Training losses that are carried over; the header of a safetensors file is limited to 100 MB."""


class CheckpointFormatError(ValueError):
    """A .t7 file that is not a supported checkpoint; the message says which, why, and what to do."""


def field(holder: Table | TorchObject, name: str, where: str) -> Any:
    """Return ``holder[name]``, which must not be nil; ``where`` is the holder's path, for the message."""
    value = holder.get(name)
    if value is None:
        raise CheckpointFormatError(f"{where} has no field {name!r}; the file is damaged or of an unknown program")
    return value


def table(holder: Table | TorchObject, name: str, where: str) -> Table:
    """Return a field that must be a table."""
    value = field(holder, name, where)
    if not isinstance(value, Table):
        raise CheckpointFormatError(f"{where}.{name} is {kind(value)}, not a table")
    return value


def module(value: Any, where: str) -> TorchObject:
    """Return a value that must be a torch object with fields."""
    if not isinstance(value, TorchObject) or not isinstance(value.fields, Table):
        raise CheckpointFormatError(f"{where} is {kind(value)}, not a torch object with fields")
    return value


def floats(holder: TorchObject, name: str, where: str, dimensions: int) -> Floats:
    """Return a field that must be a vector or matrix of float16, float32 or float64, without copying it.

    It must not be empty, nor have overlapping elements: with those a small file could describe a large tensor.
    """
    value = field(holder, name, where)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != dimensions:
        wanted = "a vector" if dimensions == 1 else "a matrix"
        raise CheckpointFormatError(f"{where}.{name} is {kind(value)}, not {wanted} of floating-point numbers")
    if value.size == 0 or is_virtual(value):
        raise CheckpointFormatError(f"{where}.{name} of shape {value.shape} does not hold that many numbers")
    return value


def probability(dropout: TorchObject, where: str) -> float:
    """Return the dropout probability of an ``nn.Dropout``, which must be below 1."""
    p = dropout.get("p")
    if not is_finite(p) or not 0 <= p < 1:
        raise CheckpointFormatError(f"{where}.p is {p!r:.40}, not a probability from 0 to below 1")
    return p


def is_virtual(tensor: np.ndarray) -> bool:
    """Return whether a tensor is larger than its memory because elements overlap, as in an expanded one."""
    return tensor.size > _extent(tensor) // tensor.itemsize


def check_apart(tensors: Iterable[Floats]) -> None:
    """Check that parameters do not overlap in the file, so that they cannot take more memory than the file."""
    end = 0
    for start, size in sorted((int(tensor.ctypes.data), _extent(tensor)) for tensor in tensors):
        if start < end:
            raise CheckpointFormatError("two of its parameters share memory; tied weights are not supported")
        end = start + size


def _extent(tensor: np.ndarray) -> int:
    """Return the bytes from a tensor's first element to the end of its last."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return int(tensor.itemsize + sum((size - 1) * stride for size, stride in steps))


def scalars(options: object) -> dict[str, Scalar]:
    """Return a table's numbers, strings and booleans with string keys, in JSON's types, sorted by name.

    NaN and infinities become None, whole numbers int.
    """
    if not isinstance(options, Table):
        return {}
    known = {_text(key): value for key, value in options.items() if isinstance(key, bytes)}
    return {key: _scalar(value) for key, value in sorted(known.items()) if isinstance(value, bool | float | bytes)}


def _scalar(value: bool | float | bytes) -> Scalar:
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, bool) or not math.isfinite(value):
        return value if isinstance(value, bool) else None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _text(value: bytes) -> str:
    """Return the first 4,096 bytes of a Lua string; bytes that are not UTF-8 are written as ``\\xff``."""
    return value[:_MAX_TEXT].decode("utf-8", "backslashreplace")


def losses(values: Iterable[object]) -> list[float | None]:
    """Return losses in JSON's types: None for everything that is not a finite number."""
    return [value if is_finite(value) else None for value in values]


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number."""
    return isinstance(value, float) and math.isfinite(value)


def kind(value: object) -> str:
    """Return what a value is, for messages."""
    if isinstance(value, np.ndarray):
        return f"a tensor of {value.dtype}, shape {value.shape}"
    if isinstance(value, TorchObject):
        return f"a {value.class_name[:60]}"
    names: Mapping[type, str] = {Table: "a table", bytes: "a string", float: "a number", bool: "a boolean"}
    return names.get(type(value), "nil" if value is None else "a function")


def make_config(recipe: str | None, required: Mapping[str, Any], optional: Sequence[Mapping[str, Any]]) -> Config:
    """Return a recipe (None: today's defaults) with the values, by ``section.key``, that the weights require.

    `optional` has groups of such values from the file's options. An invalid group (a batch size of 0, say) is ignored:
    the model is worth reading anyway.

    Raises:
        CheckpointFormatError: A required value is invalid.
    """
    try:
        config = with_settings(compose_config(recipe), required, "protos.rnn")
    except ConfigError as error:
        raise CheckpointFormatError(str(error)) from None
    for group in optional:
        with suppress(ConfigError):
            config = with_settings(config, group, "opt")
    return config


def settings_in(options: Mapping[str, Scalar], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the configuration values among a file's options; ``keys`` maps an option to today's ``section.key``."""
    return [{key: options[name]} for name, key in keys.items() if options.get(name) not in (None, "")]


def training_metadata(
    *, step: object, epoch: object, data: object, val_losses: Mapping[int, float | None]
) -> dict[str, Any]:
    """Return a model file's metadata about its training, without values of a wrong type.

    `data` names the training text; `val_losses` has losses in nats by iteration, None for those that were not finite.
    """
    metadata: dict[str, Any] = {}
    if is_finite(step) and step.is_integer():
        metadata["step"] = int(step)
    if is_finite(epoch):
        metadata["epoch"] = epoch
    if isinstance(data, str):
        metadata["data"] = data
    known = {iteration: loss for iteration, loss in val_losses.items() if loss is not None}
    if known and "step" in metadata:
        metadata["best_step"], metadata["best_val_loss"] = min(known.items(), key=lambda item: (item[1], item[0]))
    return metadata
