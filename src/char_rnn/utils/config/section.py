"""What all sections of a configuration are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError, core_schema

COUNT = 1_000_000_000
"""The most of anything that is counted: steps, sequences, symbols."""


class Section(BaseModel):
    """What the sections share: unknown keys refused, no silent conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


ANY_CELL = "any cell"
"""Validation context in which unknown names are valid: for programs that only describe a model."""


@dataclass(frozen=True)
class NameOf:
    """Annotation of a text that is one of the names in a mapping, which may grow.

    Attributes:
        known: The mapping.
        listed: The names that are always there.
        hint: What to do about a name that is not there and like none that is.
    """

    known: Mapping[str, Any]
    listed: tuple[str, ...]
    hint: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_after_validator_function(self._checked, handler(source))

    def _checked(self, name: str, info: core_schema.ValidationInfo) -> str:
        if name not in self.known and info.context != ANY_CELL:
            raise ValueError
        return name


def not_empty(path: str | None) -> str | None:
    """Return a path that is not empty; pydantic's own check of a length refuses names that are not UTF-8."""
    if path == "":
        raise ValueError
    return path


def conflict(message: str, names: tuple[str, ...], **values: object) -> PydanticCustomError:
    """An error between several keys.

    Args:
        message: What is wrong and how to mend it, with ``{placeholders}``.
        names: The keys as ``section.key``; the loader names the place of the one that was given last.
        values: For the placeholders.
    """
    return PydanticCustomError("conflict", message, {"names": names, **values})
