"""Reads configurations: defaults, then a recipe, then a file, then single overrides; later wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from char_rnn.utils.config.messages import ConfigError, allowed, did_you_mean, hint, kinds, one_line, shown
from char_rnn.utils.config.removed import is_removed, replacement
from char_rnn.utils.config.schema import SECTIONS, Config
from char_rnn.utils.config.section import ANY_CELL

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from char_rnn.utils.config.yaml_nodes import Node

_LONGEST_PLACE = 86
_NULLS = ("null", "Null", "NULL", "~")


class Given(NamedTuple):
    """A value from outside, where it came from, and its key where the place does not say it."""

    value: Any
    place: str
    key: str = ""


class Override(NamedTuple):
    """A single value that is set by other words than ``--set``.

    Attributes:
        assignment: ``"section.key=value"``, the value in YAML.
        place: What was written instead; begins the message.
    """

    assignment: str
    place: str


Layer = dict[tuple[str, str], Given]


def load_config(path: str | Path, *, any_cell: bool = False) -> Config:
    """Read a configuration file; missing keys have their defaults.

    Args:
        path: The file.
        any_cell: Accept a cell that is not defined here, to describe the model without building it.

    Raises:
        ConfigError: One line with file, line, key, what is allowed and what was given.
    """
    return _validate([_read_file(path)], any_cell)


def compose_config(
    recipe: str | None = None, file: str | Path | None = None, overrides: Sequence[str | Override] = ()
) -> Config:
    """Defaults, overlaid by a named recipe, a file, and single values, in this order.

    Args:
        recipe: Name of a shipped recipe; see `recipes`.
        file: Path of a YAML file; it may hold just some keys.
        overrides: ``"section.key=value"``, the value in YAML (text may stand as it is); later wins.

    Raises:
        ConfigError: One line with place (file and line, or the override), key, what is allowed and what was given.
    """
    layers: list[Layer] = []
    if recipe is not None:
        layers.append(_read_text(_recipe_text(recipe), f"recipe {recipe}"))
    if file is not None:
        layers.append(_read_file(file))
    layers.extend(_read_override(override) for override in overrides)
    return _validate(layers)


def config_from_dict(data: object, place: str, *, saved: bool = False, any_cell: bool = False) -> Config:
    """A configuration from nested dictionaries (out of a model file, say), with one-line errors.

    Args:
        data: ``{section: {key: value}}``, as `Config.model_dump` gives it; missing keys have their defaults.
        place: Where the data came from; begins the message.
        saved: Whether the data describes a saved model, which loads with removed settings too.
        any_cell: As for :func:`load_config`.

    Raises:
        ConfigError: ``data`` is no such mapping, or a key, type or range is wrong.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{place}: must be a mapping of sections; given {shown(data)}")
    layer: Layer = {}
    for section, entries in data.items():
        if not isinstance(entries, Mapping):
            raise ConfigError(f"{place}: {one_line(str(section))}: must be a mapping of keys; given {shown(entries)}")
        for key, value in entries.items():
            name = one_line(f"{section}.{key}")
            if not is_removed(str(section), str(key), value, f"{place}: {name}", saved=saved):
                _field(str(section), str(key), f"{place}: {name}")
                layer[str(section), str(key)] = Given(replacement(str(section), str(key), value), place, name)
    return _validate([layer], any_cell)


def read_setting(setting: str | Override) -> tuple[str, Any]:
    """The key, as ``section.key``, and the value that `compose_config` would read; the value is not checked.

    Raises:
        ConfigError: It is no ``section.key=value``, there is no such key, or the value is not YAML.
    """
    [((section, key), given)] = _read_override(setting).items()
    return f"{section}.{key}", given.value


def recipes() -> dict[str, str]:
    """The shipped recipes: name to one line of description (the first comment of the file), sorted by name."""
    found = {}
    for entry in _recipe_folder().iterdir():
        if entry.name.endswith(".yaml"):
            first = entry.read_text(encoding="utf-8").partition("\n")[0]
            found[entry.name.removesuffix(".yaml")] = first.removeprefix("#").strip()
    return dict(sorted(found.items()))


def _recipe_folder() -> Traversable:
    return resources.files("char_rnn") / "config"


def _recipe_text(name: str) -> str:
    known = recipes()
    if name not in known:
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ConfigError(f"recipe {one_line(repr(name))}: there is none of this name{hint}")
    return (_recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def _read_file(file: str | Path) -> Layer:
    from char_rnn.utils.config import yaml_nodes

    path = Path(file)
    return _read_text(yaml_nodes.read_text(path), one_line(str(path), 4096))


def _read_text(text: str, name: str) -> Layer:
    from char_rnn.utils.config import yaml_nodes

    root = yaml_nodes.parse(text, lambda line: f"{name}:{line}")
    if root.value is None:
        return {}
    if not isinstance(root.value, dict):
        raise ConfigError(
            f"{name}:{root.line}: must be sections with keys, such as 'training:'; given {shown(root.value)}"
        )
    layer: Layer = {}
    for section, node in root.value.items():
        where = f"{name}:{node.line}: {one_line(section)}"
        if section not in SECTIONS:
            raise ConfigError(f"{where}: unknown section{_section_hint(section)}")
        if node.value is not None and not isinstance(node.value, dict):
            raise ConfigError(f"{where}: must be a mapping of keys; given {shown(node.value)}")
        for key, child in (node.value or {}).items():
            place, full_key = f"{name}:{child.line}", f"{section}.{one_line(key)}"
            if not is_removed(section, key, child.value, f"{place}: {full_key}"):
                field = _field(section, key, f"{place}: {full_key}")
                layer[section, key] = Given(_fitted(child, field), place, full_key)
    return layer


def _read_override(override: str | Override) -> Layer:
    if isinstance(override, str):
        override = Override(override, f"--set {override}")
    name, equals, text = override.assignment.partition("=")
    section, dot, key = name.strip().partition(".")
    place = one_line(override.place, _LONGEST_PLACE)
    if not equals:
        raise ConfigError(f"{place}: has no value; write it as section.key=value")
    if not dot:
        hint = _section_hint(section) or ", such as training.seed=1"
        raise ConfigError(f"{place}: must be section.key=value{hint}")
    if section not in SECTIONS:
        raise ConfigError(f"{place}: unknown section{_section_hint(section)}")
    is_removed(section, key, text.strip(), place)
    field = _field(section, key, place)
    if str in kinds(field) and not text.strip().startswith(("'", '"')):
        null = type(None) in kinds(field) and text.strip() in _NULLS
        return {(section, key): Given(None if null else text, place)}
    from char_rnn.utils.config import yaml_nodes

    return {(section, key): Given(_fitted(yaml_nodes.parse(text, lambda _: place), field), place)}


def _field(section: str, key: str, place: str) -> FieldInfo:
    """The schema's entry of a key, or a ``ConfigError`` with the nearest known one."""
    if section not in SECTIONS:
        raise ConfigError(f"{place}: unknown section{_section_hint(section)}")
    fields = SECTIONS[section].model_fields
    if key in fields:
        return fields[key]
    hint = did_you_mean(key, fields) or _home(key) or f"; known: {', '.join(fields)}"
    raise ConfigError(f"{place}: unknown key{hint}")


def _section_hint(word: str) -> str:
    return did_you_mean(word, SECTIONS) or _home(word) or f"; known: {', '.join(SECTIONS)}"


def _home(key: str) -> str:
    homes = [f"{section}.{key}" for section, model in SECTIONS.items() if key in model.model_fields]
    return f"; did you mean {' or '.join(homes)}?" if homes else ""


def _fitted(node: Node, field: FieldInfo) -> Any:
    """A node's value, with the two liberties its field allows: ``2015`` as text, ``1e5`` as a whole number."""
    if isinstance(node.value, dict):
        return {key: child.value for key, child in node.value.items()}
    if str in kinds(field) and node.text is not None and node.value is not None:
        return node.text
    if int in kinds(field) and isinstance(node.value, float) and node.value.is_integer():
        return int(node.value)
    return node.value


def _validate(layers: Sequence[Layer], any_cell: bool = False) -> Config:
    given: Layer = {}
    for layer in layers:
        for name, entry in layer.items():
            given.pop(name, None)
            given[name] = entry
    nested: dict[str, dict[str, Any]] = {}
    for (section, key), entry in given.items():
        nested.setdefault(section, {})[key] = entry.value
    try:
        return Config.model_validate(nested, context=ANY_CELL if any_cell else None)
    except ValidationError as error:
        raise ConfigError(_explain(error.errors(include_url=False)[0], given)) from None


def _explain(error: ErrorDetails, given: Layer) -> str:
    if error["type"] == "conflict":
        places = [entry.place for name, entry in given.items() if ".".join(name) in error["ctx"]["names"]]
        return f"{places[-1]}: {error['msg']}"
    section, key = map(str, error["loc"][:2])
    field = SECTIONS[section].model_fields[key]
    value, place, full_key = given[section, key]
    where = f"{place}: {full_key}" if full_key else place
    return f"{where}: must be {allowed(field)}; given {shown(value)}{hint(field, value)}"
