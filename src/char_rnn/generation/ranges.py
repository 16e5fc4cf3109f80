"""What each setting of the writing may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TypeGuard

import numpy as np


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_count(value: object) -> TypeGuard[int]:
    return _is_whole(value) and value >= 1


def _is_temperature(value: object) -> bool:
    return _is_number(value) and 0 <= value < math.inf


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 < value <= 1


_LONGEST = 1_000_000_000
_SHARE = "a number more than 0 and at most 1, or None for all"
_RANGES: dict[str, tuple[Callable[[object], bool], str]] = {
    "temperature": (_is_temperature, "a number, 0 or more (0 = always the likeliest)"),
    "final_temperature": (
        lambda value: value is None or _is_temperature(value),
        "a number, 0 or more, or None to stay at the first",
    ),
    "top_k": (lambda value: value is None or _is_count(value), "a whole number, 1 or more, or None for all"),
    "top_p": (lambda value: value is None or _is_share(value), _SHARE),
    "min_p": (lambda value: value is None or _is_share(value), _SHARE),
    "typical_p": (lambda value: value is None or _is_share(value), _SHARE),
    "repetition_penalty": (
        lambda value: _is_number(value) and 0 < value <= 100,
        "a number more than 0 and at most 100 (1 = none)",
    ),
    "repetition_window": (
        lambda value: _is_count(value) and value <= _LONGEST,
        f"a whole number from 1 to {_LONGEST:,}",
    ),
    "banned": (lambda value: isinstance(value, str), "a text of characters"),
    "allowed": (
        lambda value: value is None or (isinstance(value, str) and value != ""),
        "a text of at least one character, or None for all",
    ),
}


def check_strategy(**settings: object) -> None:
    """Raises ``ValueError`` if a setting of a `Strategy`, given by its name, is outside its range."""
    for name, value in settings.items():
        is_good, words = _RANGES[name]
        if not is_good(value):
            raise ValueError(f"{name}: must be {words}; given {value!r}")


def check_length(length: int) -> None:
    """Raises ``ValueError`` if ``length`` is no number of symbols."""
    if not _is_whole(length) or length < 0:
        raise ValueError(f"length: must be a whole number, 0 or more; given {length!r}")


def check_seed(seed: int | None) -> None:
    """Raises ``ValueError`` if ``seed`` is neither a seed nor ``None``."""
    if seed is not None and (not _is_whole(seed) or seed < 0):
        raise ValueError(f"seed: must be a whole number, 0 or more, or None for a new one; given {seed!r}")


def check_count(name: str, count: int, most: int) -> None:
    """Raises ``ValueError`` if ``count``, called ``name``, is not from 1 to ``most``."""
    if not _is_count(count) or count > most:
        raise ValueError(f"{name}: must be a whole number from 1 to {most:,}; given {count!r}")
