"""The one-line messages of configuration errors: what is allowed, what was given, what may have been meant."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from char_rnn.utils.config.section import NameOf
from char_rnn.utils.terminal import visible_name

_LONGEST = 80


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line: place, key, what is allowed, what was given."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """``text`` in one printable line of at most ``longest`` characters."""
    line = visible_name(text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 3] + "..."


def shown(value: Any) -> str:
    """A value as it is shown to the user, in YAML's words and in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return one_line(repr(value))
    except ValueError:
        return "a number of thousands of digits"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` with the known word nearest to ``word``, or an empty text if none is near."""
    nearest = difflib.get_close_matches(word[:_LONGEST].lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def kinds(field: FieldInfo) -> tuple[Any, ...]:
    """The types a field takes: the members of a union, or the one annotation."""
    union = get_origin(field.annotation) in (Union, types.UnionType)
    members = get_args(field.annotation) if union else (field.annotation,)
    return tuple(get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in members)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The words a field of named choices takes; none for other fields."""
    names = _names(field)
    if names is not None:
        return names.listed
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def hint(field: FieldInfo, value: object) -> str:
    """What may have been meant by a value that a field of named choices does not take."""
    names = _names(field)
    if not isinstance(value, str):
        return ""
    if names is None:
        return did_you_mean(value, choices(field))
    return did_you_mean(value, names.known) or f"; {names.hint}"


def _names(field: FieldInfo) -> NameOf | None:
    return next((item for item in field.metadata if isinstance(item, NameOf)), None)


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words: ``"a whole number from 1 to 1,024 or null"``."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    if choices(field):
        return "one of " + ", ".join(choices(field))
    names = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
    phrase = next(name for kind, name in names.items() if kind in kinds(field))
    return phrase + _range(field) + (" or null" if type(None) in kinds(field) else "")


def _range(field: FieldInfo) -> str:
    bounds = {
        name: f"{getattr(item, name):,}"
        for item in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(item, name)
    }
    low = f" from {bounds['ge']}" if "ge" in bounds else f" more than {bounds['gt']}" if "gt" in bounds else ""
    if "lt" in bounds:
        return f"{low} to below {bounds['lt']}"
    if "le" in bounds:
        return f"{low} to {bounds['le']}" if "ge" in bounds else f"{low} and at most {bounds['le']}"
    return f", {bounds['ge']} or more" if "ge" in bounds else low
