"""Writes a configuration as YAML, which `load_config` reads to an equal one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from char_rnn.utils.config.fields import Section, allowed
from char_rnn.utils.config.schema import SECTIONS, Config


def to_yaml(config: Config, *, comments: bool = False) -> str:
    """Return a configuration as YAML with every key and exact numbers.

    Args:
        config: The configuration.
        comments: Add a comment before each key with its description and valid values.
    """
    return "\n".join("\n".join([f"{section}:", *_entries(section, config, comments)]) + "\n" for section in SECTIONS)


def descriptions(section: type[Section]) -> dict[str, str]:
    """Return the description of each key: that of its field, or the docstring below it.

    The docstrings are read from the source here; pydantic would read them at each creation of the class.
    """
    [class_node] = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(class_node, ast.ClassDef)
    below = {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(class_node.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
    return {name: field.description or below[name] for name, field in section.model_fields.items()}


def _entries(section: str, config: Config, comments: bool) -> list[str]:
    values = getattr(config, section)
    words_of = descriptions(SECTIONS[section]) if comments else {}
    lines = []
    for key, field in SECTIONS[section].model_fields.items():
        if comments:
            words = f"{words_of[key]} Takes {allowed(field)}."
            lines += textwrap.wrap(words, 100, initial_indent="  # ", subsequent_indent="  # ")
        lines.append(f"  {key}: {_value(getattr(values, key))}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, str):
        import yaml

        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")
    if isinstance(value, float):
        return _float(value)
    return "null" if value is None else str(value).lower()


def _float(value: float) -> str:
    """Return the shortest exact digits; YAML 1.1 needs a point before an exponent."""
    mantissa, e, exponent = repr(value).partition("e")
    return repr(value) if not e or "." in mantissa else f"{mantissa}.0e{exponent}"
