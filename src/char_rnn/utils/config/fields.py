"""Sections and their fields: validation, and the one-line messages about what a field allows and what was given."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

from char_rnn.utils.terminal import visible_name

COUNT = 1_000_000_000
"""Largest count of steps, sequences or symbols."""

ANY_CELL = "any cell"
"""Validation context in which unknown names are valid: for programs that only describe a model."""

_LONGEST = 80


class ConfigError(ValueError):
    """An invalid configuration; the message is one line: place, key, what is allowed, what was given."""


Conflict = tuple[str, tuple[str, ...]]
"""What is wrong and how to fix it, and the keys; the message begins with the place of the last one given."""


class Section(BaseModel):
    """Base of the sections: no unknown keys, no silent conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def _conflicts(self) -> Iterator[Conflict]:
        """Yield the conflicts between keys."""
        yield from ()

    @model_validator(mode="after")
    def _has_no_conflict(self) -> Self:
        for message, names in self._conflicts():
            raise PydanticCustomError("conflict", "{message}", {"message": message, "names": names})
        return self


@dataclass(frozen=True)
class NameOf:
    """Annotation of a text that is one of the ``known`` names, which may grow; those ``listed`` are always there.

    The hint is what to do about an unknown name that resembles none.
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


def check(is_valid: Callable[[Any], object]) -> AfterValidator:
    """Return a validator for values of which a function is true."""

    def checked(value: Any) -> Any:
        if not is_valid(value):
            raise ValueError
        return value

    return AfterValidator(checked)


def is_rising(horizons: list[tuple[int, int]]) -> bool:
    """Whether the segments of a schedule begin one after the other, and each ends after its step."""
    return all(a < b for (a, _), (b, _) in pairwise(horizons)) and all(step < end for step, end in horizons)


def _whole(text: str) -> str:
    text.encode("utf-8")
    return text


NonEmpty = Annotated[str, check(bool)]
"""A text that is not empty; pydantic's own check of a length rejects names that are not UTF-8."""

WholeText = Annotated[str, AfterValidator(_whole)]
"""A text without surrogates, halves of a character."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Return ``text`` in one printable line of at most ``longest`` characters."""
    line = visible_name(text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 3] + "..."


def shown(value: Any) -> str:
    """Return a value in YAML's words and in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return one_line(repr(value))
    except ValueError:
        return "a number of thousands of digits"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` with the known word nearest to ``word``, or an empty text if none is near."""
    nearest = difflib.get_close_matches(word[:_LONGEST].lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def kinds(field: FieldInfo) -> tuple[Any, ...]:
    """Return the types of a field: the members of a union, or the one annotation."""
    union = get_origin(field.annotation) in (Union, types.UnionType)
    members = get_args(field.annotation) if union else (field.annotation,)
    return tuple(get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in members)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Return the words that a field of named choices allows; none for other fields."""
    names = _names(field)
    if names is not None:
        return names.listed
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def hint(field: FieldInfo, value: object) -> str:
    """Return the probable meaning of an invalid value of a field of named choices."""
    names = _names(field)
    if not isinstance(value, str):
        return ""
    if names is None:
        return did_you_mean(value, choices(field))
    return did_you_mean(value, names.known) or f"; {names.hint}"


def _names(field: FieldInfo) -> NameOf | None:
    return next((item for item in field.metadata if isinstance(item, NameOf)), None)


def allowed(field: FieldInfo) -> str:
    """Return what a field allows in words: ``"a whole number from 1 to 1,024, or null"``."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    if choices(field):
        return "one of " + ", ".join(choices(field))
    names = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
    phrase = next(name for kind, name in names.items() if kind in kinds(field))
    bounds = _range(field)
    null = "" if type(None) not in kinds(field) else ", or null" if bounds else " or null"
    return phrase + bounds + null


def _range(field: FieldInfo) -> str:
    bounds = {
        name: f"{getattr(item, name):,}"
        for item in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(item, name)
    }
    low = f" from {bounds['ge']}" if "ge" in bounds else f" more than {bounds['gt']}" if "gt" in bounds else ""
    if "lt" in bounds:
        return f"{low}{' to' if 'ge' in bounds else ' and'} below {bounds['lt']}"
    if "le" in bounds:
        return f"{low} to {bounds['le']}" if "ge" in bounds else f"{low} and at most {bounds['le']}"
    return f", {bounds['ge']} or more" if "ge" in bounds else low
