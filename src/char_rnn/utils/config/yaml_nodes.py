"""Reads YAML with line numbers, for configurations: safe, of limited size, with errors of one line.

PyYAML's composer builds the tree. The scalars are read here: configurations need neither aliases nor tags (nested
aliases can expand to any size), and YAML 1.1 reads ``1e-5`` as text.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from char_rnn.utils.config.fields import ConfigError, one_line
from char_rnn.utils.files import TextForPathError, read_regular

MAX_BYTES = 1 << 20
_MAX_DEPTH = 16
_EXPONENT_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+")
_TAG = "tag:yaml.org,2002:"
_SCALARS = ("null", "bool", "int", "float", "str", "timestamp", "value", "merge")


@dataclass(frozen=True)
class Node:
    """A value of a YAML document; a mapping is a ``dict`` of ``Node``.

    The line is from 1 (in a mapping: that of the key); ``text`` is that of a plain (unquoted) scalar, else ``None``.
    """

    value: Any
    line: int
    text: str | None = None


class _Loader(yaml.SafeLoader):
    """A composer without aliases and deep nesting; its constructor reads only numbers and booleans."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=self.get_mark())
        if self.depth == _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=self.get_mark())
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_text(path: Path) -> str:
    """Return the content of a configuration file: UTF-8, with or without a byte-order mark, at most 1 MiB.

    Raises:
        ConfigError: The file cannot be read, is too long, or is not UTF-8.
    """
    name = one_line(str(path), 4096)
    try:
        content = read_regular(path, MAX_BYTES)
    except TextForPathError as error:
        raise ConfigError(str(error)) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: {_why_unreadable(path, error)}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8 text") from None


def _why_unreadable(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; `char-rnn config list` shows the recipes"
    if isinstance(error, ValueError):
        return "is not a file name"
    if error.errno == errno.EFBIG:
        return f"longer than {MAX_BYTES:,} bytes; is it a configuration?"
    # On Windows, opening a folder is a permission error.
    if isinstance(error, IsADirectoryError) or (isinstance(error, PermissionError) and path.is_dir()):
        return "is a folder; give a YAML file, such as the config.yaml of a run"
    return f"cannot be read: {error.strerror or error}"


def parse(text: str, place: Callable[[int], str]) -> Node:
    """Return the document in a YAML text; an empty text is ``Node(None, 1)``.

    ``place`` returns the name of a line (from 1) for messages, such as ``"my.yaml:7"``.

    Raises:
        ConfigError: ``text`` is not YAML, or has a key twice, an alias, or a tag.
    """
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Node(None, 1) if root is None else _convert(root, place, loader, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = one_line(", ".join(part for part in (error.context, error.problem) if part), 200)
        raise ConfigError(f"{place(mark.line + 1 if mark else 1)}: not valid YAML: {reason}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{place(line)}: not valid YAML: character U+{ord(text[error.position]):04X}") from None
    except ConfigError:
        raise
    except (ValueError, OverflowError):
        line = loader.line + 1 if loader else 1
        raise ConfigError(f"{place(line)}: not valid YAML: an escape beyond Unicode's last character") from None
    finally:
        if loader:
            loader.dispose()


def _convert(node: yaml.Node, place: Callable[[int], str], loader: _Loader, path: str) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return Node(_mapping(node, place, loader, path), line)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return Node([_convert(item, place, loader, path).value for item in node.value], line)
    if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in _SCALARS:
        return Node(_scalar(node, loader), line, node.value if node.style is None else None)
    tag = one_line(node.tag.replace(_TAG, "!!"))
    raise ConfigError(f"{place(line)}: tag {tag} is not allowed; write the plain value")


def _mapping(node: yaml.MappingNode, place: Callable[[int], str], loader: _Loader, path: str) -> dict[str, Node]:
    entries: dict[str, Node] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{place(line)}: a key must be a single word")
        key = key_node.value
        if key in entries:
            first = entries[key].line
            raise ConfigError(f"{place(line)}: {one_line(path + key)}: given twice (first on line {first}); keep one")
        value = _convert(value_node, place, loader, f"{path}{key}.")
        entries[key] = Node(value.value, line, value.text)
    return entries


def _scalar(node: yaml.ScalarNode, loader: _Loader) -> Any:
    """Return the value of a scalar; invalid numbers (``0x``, or thousands of digits) stay text."""
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool" and node.value.lower() in loader.bool_values:
        return loader.construct_yaml_bool(node)
    if kind == "int" or kind == "float":
        try:
            return loader.construct_yaml_int(node) if kind == "int" else loader.construct_yaml_float(node)
        except (ValueError, IndexError):
            return node.value
    if node.style is None and _EXPONENT_FLOAT.fullmatch(node.value):
        return float(node.value.replace("_", ""))
    return node.value
