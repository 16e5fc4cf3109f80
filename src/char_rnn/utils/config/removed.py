"""Settings of version 1.0 that were removed: old files with their defaults load, other values get a message."""

from __future__ import annotations

from typing import Any

from char_rnn.utils.config.messages import ConfigError

_KEYS: dict[tuple[str, str], tuple[object, str]] = {
    ("training", "random_segments"): (False, "delete it; training.seq_length alone gives the same loss"),
    ("training", "averaging_patience"): (None, "delete it; it was for training.averaging nt-asgd only"),
}
"""Key: the value that has no effect (None: all values), and what to do about others."""

_VALUES = {
    ("training", "averaging", "nt-asgd"): ("polyak", "set training.averaging to polyak with training.averaging_start"),
}
"""Key and value: its replacement in saved models, and what to do about it elsewhere."""


def is_removed(section: str, key: str, value: Any, place: str, *, saved: bool = False) -> bool:
    """Whether to ignore a setting because its key was removed.

    Args:
        section: Section of the key.
        key: Name of the key.
        value: Given value.
        place: Beginning of the message.
        saved: Whether the setting describes a saved model, which loads with any value.

    Raises:
        ConfigError: The key or the value was removed and has an effect.
    """
    if (section, key) in _KEYS:
        harmless, advice = _KEYS[section, key]
        if saved or harmless is None or value is harmless:
            return True
        raise ConfigError(f"{place}: was removed in version 1.1; {advice}")
    if isinstance(value, str) and (section, key, value) in _VALUES and not saved:
        raise ConfigError(f"{place}: {value} was removed in version 1.1; {_VALUES[section, key, value][1]}")
    return False


def replacement(section: str, key: str, value: Any) -> Any:
    """Return the value to load a saved model with in place of a removed one; other values stay."""
    return _VALUES[section, key, value][0] if isinstance(value, str) and (section, key, value) in _VALUES else value
