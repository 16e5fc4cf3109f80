"""Writes a configuration as YAML that `load_config` reads back to an equal one."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from char_rnn.utils.config.messages import allowed
from char_rnn.utils.config.schema import SECTIONS, Config


def to_yaml(config: Config, *, comments: bool = False) -> str:
    """The configuration as YAML, every key written out, floats exact.

    Args:
        config: What to write.
        comments: Precede each key with its description and what it takes.
    """
    return "\n".join("\n".join([f"{section}:", *_entries(section, config, comments)]) + "\n" for section in SECTIONS)


def _entries(section: str, config: Config, comments: bool) -> list[str]:
    values = getattr(config, section)
    lines = []
    for key, field in SECTIONS[section].model_fields.items():
        if comments:
            words = f"{field.description} Takes {allowed(field)}."
            lines += textwrap.wrap(words, 100, initial_indent="  # ", subsequent_indent="  # ")
        lines.append(f"  {key}: {_value(getattr(values, key))}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, str):
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")
    if isinstance(value, float):
        return _float(value)
    return "null" if value is None else str(value).lower()


def _float(value: float) -> str:
    """Shortest exact digits; YAML 1.1 wants a point before an exponent."""
    mantissa, e, exponent = repr(value).partition("e")
    return repr(value) if not e or "." in mantissa else f"{mantissa}.0e{exponent}"
