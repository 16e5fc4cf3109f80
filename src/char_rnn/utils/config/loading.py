"""Reads configurations: defaults, then a recipe, then a file, then single overrides; later ones win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from char_rnn.utils.config.fields import ANY_CELL, ConfigError, allowed, did_you_mean, hint, kinds, one_line, shown
from char_rnn.utils.config.schema import SECTIONS, Config

if TYPE_CHECKING:
    from char_rnn.utils.config.yaml_nodes import Node

_LONGEST_PLACE = 86
_NULLS = ("null", "Null", "NULL", "~")
_RECIPES = resources.files("char_rnn") / "config"

_REMOVED_KEYS: dict[tuple[str, str], tuple[object, str]] = {
    ("training", "random_segments"): (False, "delete it; training.seq_length alone gives the same loss"),
    ("training", "averaging_patience"): (None, "delete it; it was for training.averaging nt-asgd only"),
}
"""Keys of version 1.0: the value that has no effect (None: all values), and what to do about others."""

_REMOVED_VALUES = {
    ("training", "averaging", "nt-asgd"): ("polyak", "set training.averaging to polyak with training.averaging_start")
}
"""Keys and values of version 1.0: the replacement in saved models, and what to do about it elsewhere."""


class Given(NamedTuple):
    """A value, its origin, and its key where the origin does not include it."""

    value: Any
    place: str
    key: str = ""


class Override(NamedTuple):
    """A single value that is set by an option other than ``--set``."""

    assignment: str  # "section.key=value", the value in YAML
    place: str  # the option as it was written; begins the message


Values = dict[tuple[str, str], Given]


def load_config(path: str | Path, *, any_cell: bool = False) -> Config:
    """Read a configuration file; missing keys have their defaults.

    Args:
        path: The file.
        any_cell: Accept a cell that is not defined here, and removed settings, to describe a run without continuing it.

    Raises:
        ConfigError: One line with file, line, key, what is allowed and what was given.
    """
    return _validate([_read_file(path, saved=any_cell)], any_cell)


def compose_config(
    recipe: str | None = None, file: str | Path | None = None, overrides: Sequence[str | tuple[str, str]] = ()
) -> Config:
    """Return the defaults, overridden by a recipe, a file, and single values, in this order.

    Args:
        recipe: Name of a shipped recipe; see `recipes`.
        file: Path of a YAML file, which may contain only some keys.
        overrides: ``"section.key=value"``, the value in YAML (texts need no quotes), or an `Override`; later ones win.

    Raises:
        ConfigError: One line with place (file and line, or the override), key, what is allowed and what was given.
    """
    layers: list[Values] = []
    if recipe is not None:
        layers.append(_read_text(_recipe_text(recipe), f"recipe {recipe}"))
    if file is not None:
        layers.append(_read_file(file))
    layers.extend(_read_override(override) for override in overrides)
    return _validate(layers)


def config_from_dict(data: object, place: str, *, saved: bool = False, any_cell: bool = False) -> Config:
    """Return a configuration from nested dictionaries, such as those of a model file.

    Args:
        data: ``{section: {key: value}}``, as `Config.model_dump` returns it; missing keys have their defaults.
        place: Origin of the data; begins the message.
        saved: Whether the data describes a saved model, which loads with removed settings too.
        any_cell: As for :func:`load_config`.

    Raises:
        ConfigError: ``data`` is not such a mapping, or a key, type or range is wrong.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{place}: must be a mapping of sections; given {shown(data)}")
    values: Values = {}
    for section, entries in data.items():
        if not isinstance(entries, Mapping):
            raise ConfigError(f"{place}: {one_line(str(section))}: must be a mapping of keys; given {shown(entries)}")
        for key, value in entries.items():
            name, full_key = (str(section), str(key)), one_line(f"{section}.{key}")
            if not _is_removed(*name, value, f"{place}: {full_key}", saved=saved):
                _field(*name, f"{place}: {full_key}")
                values[name] = Given(_replaced(*name, value), place, full_key)
    return _validate([values], any_cell)


def with_settings(config: Config, settings: Mapping[str, Any], place: str, *, saved: bool = False) -> Config:
    """Return a configuration with other values, by ``section.key``; the rest is as for :func:`config_from_dict`."""
    sections = config.model_dump(mode="json")
    for name, value in settings.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    return config_from_dict(sections, place, saved=saved)


def read_setting(setting: str | tuple[str, str]) -> tuple[str, Any]:
    """Return the key, as ``section.key``, and the value that `compose_config` would read, without checking it.

    Raises:
        ConfigError: It is not ``section.key=value``, the key is unknown, or the value is not YAML.
    """
    [((section, key), given)] = _read_override(setting).items()
    return f"{section}.{key}", given.value


def recipes() -> dict[str, str]:
    """Return the shipped recipes: name and description (the first comment of the file), sorted by name."""
    found = {}
    for entry in _RECIPES.iterdir():
        if entry.name.endswith(".yaml"):
            first = entry.read_text(encoding="utf-8").partition("\n")[0]
            found[entry.name.removesuffix(".yaml")] = first.removeprefix("#").strip()
    return dict(sorted(found.items()))


def _recipe_text(name: str) -> str:
    known = recipes()
    if name not in known:
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ConfigError(f"recipe {one_line(repr(name))}: unknown{hint}")
    return (_RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def _read_file(file: str | Path, *, saved: bool = False) -> Values:
    from char_rnn.utils.config import yaml_nodes

    path = Path(file)
    return _read_text(yaml_nodes.read_text(path), one_line(str(path), 4096), saved=saved)


def _read_text(text: str, name: str, *, saved: bool = False) -> Values:
    from char_rnn.utils.config import yaml_nodes

    root = yaml_nodes.parse(text, lambda line: f"{name}:{line}")
    if root.value is None:
        return {}
    if not isinstance(root.value, dict):
        raise ConfigError(
            f"{name}:{root.line}: must be sections with keys, such as 'training:'; given {shown(root.value)}"
        )
    values: Values = {}
    for section, node in root.value.items():
        where = f"{name}:{node.line}: {one_line(section)}"
        _check_section(section, where)
        if node.value is not None and not isinstance(node.value, dict):
            raise ConfigError(f"{where}: must be a mapping of keys; given {shown(node.value)}")
        for key, child in (node.value or {}).items():
            place, full_key = f"{name}:{child.line}", f"{section}.{one_line(key)}"
            if not _is_removed(section, key, child.value, f"{place}: {full_key}", saved=saved):
                field = _field(section, key, f"{place}: {full_key}")
                values[section, key] = Given(_replaced(section, key, _fitted(child, field)), place, full_key)
    return values


def _read_override(override: str | tuple[str, str]) -> Values:
    assignment, place = (override, f"--set {override}") if isinstance(override, str) else override
    name, equals, text = assignment.partition("=")
    section, dot, key = name.strip().partition(".")
    place = one_line(place, _LONGEST_PLACE)
    if not equals:
        raise ConfigError(f"{place}: has no value; write it as section.key=value")
    if not dot:
        raise ConfigError(f"{place}: must be section.key=value{_section_hint(section)}")
    _is_removed(section, key, text.strip(), place)
    field = _field(section, key, place)
    lists = any(get_origin(kind) is list for kind in kinds(field))
    if str in kinds(field) and not text.strip().startswith(("'", '"', *(["["] if lists else []))):
        null = type(None) in kinds(field) and text.strip() in _NULLS
        return {(section, key): Given(None if null else text, place)}
    from char_rnn.utils.config import yaml_nodes

    return {(section, key): Given(_fitted(yaml_nodes.parse(text, lambda _: place), field), place)}


def _replaced(section: str, key: str, value: Any) -> Any:
    """Return the replacement of a removed value of a saved run; other values stay."""
    return _REMOVED_VALUES.get((section, key, value), (value,))[0] if isinstance(value, str) else value


def _is_removed(section: str, key: str, value: Any, place: str, *, saved: bool = False) -> bool:
    """Return whether to ignore a setting because its key was removed.

    Raises:
        ConfigError: The key or the value was removed, has an effect, and does not describe a ``saved`` model.
    """
    if (section, key) in _REMOVED_KEYS:
        harmless, advice = _REMOVED_KEYS[section, key]
        if saved or harmless is None or value is harmless:
            return True
        raise ConfigError(f"{place}: was removed in version 1.1; {advice}")
    if isinstance(value, str) and (section, key, value) in _REMOVED_VALUES and not saved:
        raise ConfigError(f"{place}: {value} was removed in version 1.1; {_REMOVED_VALUES[section, key, value][1]}")
    return False


def _check_section(section: str, place: str) -> None:
    if section not in SECTIONS:
        raise ConfigError(f"{place}: unknown section{_section_hint(section)}")


def _field(section: str, key: str, place: str) -> FieldInfo:
    """Return the field of a key; a ``ConfigError`` names the nearest known one."""
    _check_section(section, place)
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
    """Return a node's value; a field of text takes ``2015``, and a field of whole numbers takes ``1e5``."""
    if isinstance(node.value, dict):
        return {key: child.value for key, child in node.value.items()}
    if str in kinds(field) and node.text is not None and node.value is not None:
        return node.text
    if int in kinds(field) and isinstance(node.value, float) and node.value.is_integer():
        return int(node.value)
    return node.value


def _validate(layers: Sequence[Values], any_cell: bool = False) -> Config:
    given: Values = {}
    for values in layers:
        for name, entry in values.items():
            given.pop(name, None)  # the order is that of the last mention
            given[name] = entry
    nested: dict[str, dict[str, Any]] = {}
    for (section, key), entry in given.items():
        nested.setdefault(section, {})[key] = entry.value
    try:
        return Config.model_validate(nested, context=ANY_CELL if any_cell else None)
    except ValidationError as error:
        raise ConfigError(_explain(error.errors(include_url=False)[0], given)) from None


def _explain(error: ErrorDetails, given: Values) -> str:
    if error["type"] == "conflict":
        places = [entry.place for name, entry in given.items() if ".".join(name) in error["ctx"]["names"]]
        return f"{places[-1]}: {error['msg']}"
    section, key = map(str, error["loc"][:2])
    field = SECTIONS[section].model_fields[key]
    value, place, full_key = given[section, key]
    where = f"{place}: {full_key}" if full_key else place
    return f"{where}: must be {allowed(field)}; given {shown(value)}{hint(field, value)}"
