"""The name of the value that was being read when something went wrong, such as ``protos.rnn.modules[3].weight``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from char_rnn.torch7.t7.types import Function, Table

_IDENTIFIER = re.compile(rb"[A-Za-z_]\w*")
_FIRST, _LAST = 8, 4  # steps shown of a path longer than both
_LONGEST_KEY = 40


def field_path(values: Sequence[Any], starts: Sequence[int]) -> str:
    """Return the path to the value being read.

    Args:
        values: what was read so far: each unfinished object, then what it has of its own.
        starts: where in ``values`` the outermost value and then each unfinished object's own begin.
    """

    def steps(levels: Sequence[int]) -> str:
        ends = [starts[level + 1] - 1 if level + 1 < len(starts) else len(values) for level in levels]
        return "".join(_step(values, starts[level], end) for level, end in zip(levels, ends, strict=True))

    levels = range(1, len(starts))
    if len(levels) <= _FIRST + _LAST:
        return steps(levels).removeprefix(".")
    return f"{steps(levels[:_FIRST]).removeprefix('.')} ... {steps(levels[-_LAST:])}"


def _step(values: Sequence[Any], start: int, end: int) -> str:
    """Return what the path says of one object: which of its fields is being read."""
    container, count = values[start - 1], end - start
    if isinstance(container, Function):
        return ".<captured variables>"
    if not isinstance(container, Table):
        return ""
    return _name(values[end - 1]) if count % 2 else f".<key {count // 2 + 1}>"


def _name(key: Any) -> str:
    if isinstance(key, bool):
        return f"[{str(key).lower()}]"
    if isinstance(key, float):
        return f"[{key:.15g}]"
    if isinstance(key, bytes):
        text = key[:_LONGEST_KEY].decode("utf-8", "backslashreplace")
        return f".{text}" if _IDENTIFIER.fullmatch(key) else f"[{text!r}]"
    return f"[<{type(key).__name__}>]"
