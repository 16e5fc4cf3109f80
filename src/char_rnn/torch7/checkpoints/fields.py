"""Checked access to what a .t7 file holds: what is missing or of another kind is named, with its place.

What a 2015 file says about its training, as today's configuration and facts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from char_rnn.torch7.layout import Floats
from char_rnn.torch7.t7.values import Table, TorchObject
from char_rnn.utils.config import Config, ConfigError, compose_config, config_from_dict

Scalar = bool | int | float | str | None
_MAX_TEXT = 4096


class CheckpointFormatError(ValueError):
    """A .t7 file that is no checkpoint this program knows; the message says which, why, and what to do."""


def field(holder: Table | TorchObject, name: str, where: str) -> Any:
    """Return ``holder[name]``.

    Args:
        holder: a table or an object.
        name: the field.
        where: what the holder is called, for the message.

    Raises:
        CheckpointFormatError: there is no such field, or it is nil.
    """
    value = holder.get(name)
    if value is None:
        raise CheckpointFormatError(
            f"{where} has no field {name!r}; the file is damaged or of a program not known here"
        )
    return value


def table(holder: Table | TorchObject, name: str, where: str) -> Table:
    """Return the field as a table.

    Raises:
        CheckpointFormatError: it is missing or something else.
    """
    value = field(holder, name, where)
    if not isinstance(value, Table):
        raise CheckpointFormatError(f"{where}.{name} is {kind(value)}, not a table")
    return value


def module(value: Any, where: str) -> TorchObject:
    """Return a torch object with fields.

    Raises:
        CheckpointFormatError: it is something else.
    """
    if not isinstance(value, TorchObject) or not isinstance(value.fields, Table):
        raise CheckpointFormatError(f"{where} is {kind(value)}, not a torch object with fields")
    return value


def floats(holder: TorchObject, name: str, where: str, dimensions: int) -> Floats:
    """Return the field as a vector or a matrix of float16, float32 or float64, the file's memory itself.

    Raises:
        CheckpointFormatError: it is missing, something else, empty, or its elements lie upon each other (so that a
            small file could describe a large tensor).
    """
    value = field(holder, name, where)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != dimensions:
        wanted = "a vector" if dimensions == 1 else "a matrix"
        raise CheckpointFormatError(f"{where}.{name} is {kind(value)}, not {wanted} of floating-point numbers")
    if value.size == 0 or is_virtual(value):
        raise CheckpointFormatError(f"{where}.{name} of shape {value.shape} does not hold that many numbers")
    return value


def probability(dropout: TorchObject, where: str) -> float:
    """Return the probability with which an ``nn.Dropout`` drops.

    Raises:
        CheckpointFormatError: it is none.
    """
    p = dropout.get("p")
    if not is_finite(p) or not 0 <= p < 1:
        raise CheckpointFormatError(f"{where}.p is {p!r:.40}, not a probability from 0 to below 1")
    return p


def is_virtual(tensor: np.ndarray) -> bool:
    """Say whether elements of a tensor lie upon each other, as in an expanded one: it is larger than its memory."""
    return tensor.size > _extent(tensor) // tensor.itemsize


def check_apart(tensors: Iterable[Floats]) -> None:
    """Check that parameters lie apart in the file, so that they cannot become more than the file holds.

    Raises:
        CheckpointFormatError: two of them share memory.
    """
    end = 0
    for start, size in sorted((_address(tensor), _extent(tensor)) for tensor in tensors):
        if start < end:
            raise CheckpointFormatError(
                "two of its parameters share memory; tied weights have no place in these models"
            )
        end = start + size


def scalars(options: object) -> dict[str, Scalar]:
    """Return the numbers, strings and booleans of a table with string keys, in types that JSON has, sorted by name."""
    if not isinstance(options, Table):
        return {}
    known = {text(key): value for key, value in options.items() if isinstance(key, bytes)}
    return {key: scalar(value) for key, value in sorted(known.items()) if isinstance(value, bool | float | bytes)}


def scalar(value: bool | float | bytes) -> Scalar:
    """Return a value in a type that JSON has: whole numbers as int, NaN and infinities as None."""
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, bool) or not math.isfinite(value):
        return value if isinstance(value, bool) else None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def text(value: bytes) -> str:
    """Return a Lua string as text, its first 4,096 bytes; those that are not UTF-8 are written as ``\\xff``."""
    return value[:_MAX_TEXT].decode("utf-8", "backslashreplace")


def losses(values: Iterable[object]) -> list[float | None]:
    """Return losses in types that JSON has: None for NaN, infinities and whatever is no number."""
    return [value if is_finite(value) else None for value in values]


def is_finite(value: object) -> TypeGuard[float]:
    """Say whether a value is a finite number."""
    return isinstance(value, float) and math.isfinite(value)


def kind(value: object) -> str:
    """Say what a value is, for messages."""
    if isinstance(value, np.ndarray):
        return f"a tensor of {value.dtype}, shape {value.shape}"
    if isinstance(value, TorchObject):
        return f"a {value.class_name[:60]}"
    names: Mapping[type, str] = {Table: "a table", bytes: "a string", float: "a number", bool: "a boolean"}
    return names.get(type(value), "nil" if value is None else "a function")


def _address(tensor: Floats) -> int:
    address: int = tensor.ctypes.data
    return address


def _extent(tensor: np.ndarray) -> int:
    """Bytes from a tensor's first element to the end of its last."""
    extent: int = tensor.itemsize
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        extent += (size - 1) * stride
    return extent


Sections = dict[str, dict[str, Any]]

MAX_LOSSES = 2_000_000
"""Training losses that are carried over; the header of a safetensors file ends at 100 MB."""


def make_config(recipe: str | None, settings: Mapping[str, Any], wishes: Sequence[Mapping[str, Any]]) -> Config:
    """Return a recipe with some values changed.

    Args:
        recipe: name of a recipe; None for today's defaults.
        settings: ``{"section.key": value}`` that must hold: what the weights are made for.
        wishes: groups of such values from the file's options; a group that the configuration does not allow (a batch
            size of 0, say) is left out, as a model is worth reading whatever stands beside it.

    Raises:
        CheckpointFormatError: the settings themselves are not allowed.
    """
    sections: Sections = compose_config(recipe).model_dump(mode="json")
    try:
        config = config_from_dict(_changed(sections, settings), "protos.rnn")
    except ConfigError as error:
        raise CheckpointFormatError(str(error)) from None
    for group in wishes:
        try:
            config = config_from_dict(_changed(config.model_dump(mode="json"), group), "opt")
        except ConfigError:
            continue
    return config


def settings_in(options: Mapping[str, Scalar], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the configuration's values that stand in a file's options.

    Args:
        options: the file's.
        keys: today's ``section.key`` by the option's name.
    """
    return [{key: options[name]} for name, key in keys.items() if options.get(name) not in (None, "")]


def training_facts(
    *, step: object, epoch: object, data: object, val_losses: Mapping[int, float | None]
) -> dict[str, Any]:
    """Return the facts that a model file carries about its training.

    Args:
        step: iterations done; left out unless it is a number.
        epoch: epochs done, likewise.
        data: what was trained on; left out unless it is a text.
        val_losses: validation loss in nats by iteration; None where it was no finite number.
    """
    facts: dict[str, Any] = {}
    if is_finite(step) and step.is_integer():
        facts["step"] = int(step)
    if is_finite(epoch):
        facts["epoch"] = epoch
    if isinstance(data, str):
        facts["data"] = data
    known = {iteration: loss for iteration, loss in val_losses.items() if loss is not None}
    if known and "step" in facts:
        facts["best_step"], facts["best_val_loss"] = min(known.items(), key=lambda item: (item[1], item[0]))
    return facts


def _changed(sections: Sections, values: Mapping[str, Any]) -> Sections:
    changed = {section: dict(entries) for section, entries in sections.items()}
    for name, value in values.items():
        section, key = name.split(".")
        changed[section][key] = value
    return changed
