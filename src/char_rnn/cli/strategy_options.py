"""The flags of the sampling options, made from their declarations in `char_rnn.sampling.options`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.options import Function
from char_rnn.sampling.options import NUMBERS, OPTIONS, Option, Range, Strategy

if TYPE_CHECKING:
    from char_rnn.utils.config.schema import GenerationConfig


def strategy_flags(names: Iterable[str] = NUMBERS, **aliases: str) -> Callable[[Function], Function]:
    """The flags of some sampling options, each ``None`` when not given; `aliases` are further flags by option."""

    def add(function: Function) -> Function:
        for name in reversed(tuple(names)):
            flags = (OPTIONS[name].flag, *((aliases[name],) if name in aliases else ()), name)
            function = click.option(*flags, **_parameter(OPTIONS[name]))(function)
        return function

    return add


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling options that were given on the command line."""
    return {name: options[name] for name in OPTIONS if options.get(name) is not None}


def strategy_of(settings: GenerationConfig, options: Mapping[str, Any], **others: Any) -> Strategy:
    """The strategy: the options given, and else those of the model's configuration.

    Raises:
        UsageError: A value is not a number.
    """
    try:
        return Strategy.of(settings, **given(options), **others)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _parameter(option: Option) -> dict[str, Any]:
    return {"help": option.help, **({"metavar": "TEXT"} if option.range.type is str else {"type": _type(option.range)})}


def _type(valid: Range) -> click.IntRange | click.FloatRange:
    if valid.type is int:
        return click.IntRange(valid.least, valid.most)
    return click.FloatRange(valid.least, valid.most, min_open=valid.excludes_least)
