"""The sampling options, each declared once, as a field of `Strategy`.

The flags of the command line, the keys of the configuration, the fields of the API, the controls of the page and the
table in ``docs/sampling.md`` come from these declarations. The function of a filter is in
`char_rnn.sampling.strategies`. This module does not load NumPy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

_LARGEST = 1_000_000_000
_TYPES = {"int": int, "float": float, "str": str}


@dataclass(frozen=True)
class Range:
    """The valid values of an option.

    Attributes:
        type: ``int``, ``float`` or ``str``.
        least: Smallest number, or shortest text.
        most: Largest number; ``None`` = no limit.
        excludes_least: Whether `least` itself is invalid.
        optional: Whether ``None`` is valid.
    """

    type: type[int | float | str]
    least: int = 0
    most: int | None = None
    excludes_least: bool = False
    optional: bool = False

    def check(self, name: str, value: object) -> None:
        """Raise ``ValueError`` with the option's `name` if `value` is not valid."""
        if not (self.optional and value is None) and not self._contains(value):
            raise ValueError(f"{name}: must be {self.words}{', or None' if self.optional else ''}; given {value!r}")

    @property
    def words(self) -> str:
        """The range in words: "a number more than 0 and at most 1"."""
        if self.type is str:
            return "a text of at least one character" if self.least else "a text"
        kind = "a whole number" if self.type is int else "a number"
        if self.excludes_least:
            return f"{kind} more than {self.least} and at most {self.most}"
        return f"{kind}, {self.least} or more" if self.most is None else f"{kind} from {self.least} to {self.most:,}"

    def _contains(self, value: object) -> bool:
        if self.type is str:
            return isinstance(value, str) and len(value) >= self.least
        kind = Integral if self.type is int else Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        number: Any = value
        above = number > self.least if self.excludes_least else number >= self.least
        return bool(above and (number < float("inf") if self.most is None else number <= self.most))


@dataclass(frozen=True)
class Slider:
    """The control of an option on the page.

    Attributes:
        label: Its caption.
        least: Left end.
        most: Right end.
        step: Distance between two values.
        value: Value at the start.
        off: Value that turns the option off; ``None`` = none does.
    """

    label: str
    least: float
    most: float
    step: float
    value: float
    off: float | None = None


@dataclass(frozen=True)
class Option:
    """A sampling option.

    Attributes:
        name: Argument, key of the configuration and field of the API.
        flag: Flag of the command line.
        default: Default; a model's configuration may have another.
        range: Its valid values.
        help: Description in one sentence.
        slider: Control on the page; ``None`` = a text field of its own.
    """

    name: str
    flag: str
    default: Any
    range: Range
    help: str
    slider: Slider | None


def _declared(
    default: Any,
    help: str,  # noqa: A002
    slider: Slider | None = None,
    *,
    least: int = 0,
    above: int | None = None,
    most: int | None = None,
    flag: str = "",
) -> Any:
    """A field of `Strategy` with a valid range from `least`, or `above` a number, to `most`."""
    bounds = Range(float, least, most) if above is None else Range(float, above, most, excludes_least=True)
    return field(default=default, metadata={"range": bounds, "help": help, "slider": slider, "flag": flag})


@dataclass(frozen=True)
class Strategy:
    """The settings of sampling; the defaults sample from the model's own prediction.

    They apply in this order: allowed and banned characters, repetition penalty, temperature, then the filters in the
    order of their declaration. `OPTIONS` and the table in ``docs/sampling.md`` describe each.

    Raises:
        ValueError: A value is out of its range.
    """

    temperature: float = _declared(
        1.0,
        "Temperature: below 1 safer, above 1 bolder text, 0 always the likeliest character.",
        Slider("Temperature", 0, 2, 0.05, 0.8),
    )
    final_temperature: float | None = _declared(
        None,
        "Temperature at the last character; the temperature changes linearly over the text.",
        Slider("Final temperature", 0, 2, 0.05, 0.8),
    )
    top_k: int | None = _declared(
        None, "Sample from the K likeliest characters only.", Slider("Top-k", 0, 100, 1, 0, 0), least=1, most=_LARGEST
    )
    top_p: float | None = _declared(
        None,
        "Sample from the likeliest characters that together have probability P (nucleus sampling).",
        Slider("Top-p", 0.05, 1, 0.01, 1, 1),
        above=0,
        most=1,
    )
    min_p: float | None = _declared(
        None,
        "Sample from the characters at least P times as likely as the likeliest.",
        Slider("Min-p", 0, 0.5, 0.01, 0, 0),
        above=0,
        most=1,
    )
    typical_p: float | None = _declared(
        None,
        "Sample from the most typical characters that together have probability P (locally typical sampling).",
        Slider("Typical-p", 0.05, 1, 0.01, 1, 1),
        above=0,
        most=1,
    )
    repetition_penalty: float = _declared(
        1.0,
        "Factor for the log-probabilities of recent characters: above 1 makes them less likely, below 1 likelier.",
        Slider("Repetition penalty", 1, 2, 0.05, 1, 1),
        above=0,
        most=100,
    )
    repetition_window: int = _declared(
        64,
        "Number of recent characters that the repetition penalty applies to.",
        Slider("Repetition window", 8, 512, 8, 64),
        least=1,
        most=_LARGEST,
    )
    banned: str = _declared("", "Characters that are never generated.", flag="--ban")
    allowed: str | None = _declared(None, "Characters that may be generated (default: all).", least=1, flag="--only")

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            option.range.check(name, getattr(self, name))

    @classmethod
    def of(cls, settings: object, **others: Any) -> Strategy:
        """The strategy of a configuration's section `generation`; `others` replace its options."""
        return cls(**{**{name: getattr(settings, name) for name in NUMBERS}, **others})

    def temperature_at(self, place: int, length: int) -> float:
        """The temperature for symbol `place`, from 0, of `length`."""
        if self.final_temperature is None:
            return self.temperature
        share = min(place / (length - 1), 1.0) if length > 1 else 0.0
        return (1 - share) * self.temperature + share * self.final_temperature


def _options() -> dict[str, Option]:
    found = {}
    for each in fields(Strategy):
        kind, *optional = str(each.type).split(" | ")
        valid = replace(each.metadata["range"], type=_TYPES[kind], optional=bool(optional))
        flag = each.metadata["flag"] or "--" + each.name.replace("_", "-")
        found[each.name] = Option(each.name, flag, each.default, valid, each.metadata["help"], each.metadata["slider"])
    return found


OPTIONS = _options()
NUMBERS = tuple(name for name, option in OPTIONS.items() if option.range.type is not str)
"""The options that a model's configuration has too."""

LENGTH = Range(int)
SEED = Range(int, optional=True)


def pydantic_fields(names: Collection[str] = NUMBERS, note: str = "", **changes: dict[str, Any]) -> dict[str, Any]:
    """Fields for ``pydantic.create_model``: type, default, range and description of options.

    `note` follows the description of each number. `changes` are, by option, arguments of ``pydantic.Field`` that
    replace its own.
    """
    from pydantic import Field

    made = {}
    for name in names:
        option = OPTIONS[name]
        valid = option.range
        if valid.type is str:
            bounds: dict[str, Any] = {"min_length": valid.least} if valid.least else {}
        else:
            bounds = {"gt" if valid.excludes_least else "ge": valid.least}
            bounds |= {} if valid.most is None else {"le": valid.most}
        words = option.help
        if name in NUMBERS:
            words = f"{words.removesuffix('.')}{'; null = off' if valid.optional else ''}. {note}".rstrip()
        arguments = {"default": option.default, "description": words, **bounds, **changes.get(name, {})}
        optional = valid.optional or arguments["default"] is None
        made[name] = (valid.type | None if optional else valid.type, Field(**arguments))
    return made
