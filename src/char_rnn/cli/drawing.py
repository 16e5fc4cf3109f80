"""The options of how characters are drawn, for commands that draw on the way to something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from char_rnn.utils.config.schema import GenerationConfig

Function = TypeVar("Function", bound=Callable[..., Any])

GIVEN = ("temperature", "top_k", "top_p", "min_p")
SETTINGS = (*GIVEN, "typical_p", "repetition_penalty", "repetition_window")

_SHARE = click.FloatRange(0, 1, min_open=True)
_OPTIONS = (
    click.option("--temperature", type=click.FloatRange(min=0), help="Below 1 safer, above 1 bolder."),
    click.option("--top-k", type=click.IntRange(min=1), help="Choose among the K likeliest characters only."),
    click.option("--top-p", type=_SHARE, help="Choose among the likeliest that sum to P (nucleus)."),
    click.option("--min-p", type=_SHARE, help="Choose among those at least P times as likely as the likeliest."),
)


def drawing_options(function: Function) -> Function:
    """``--temperature``, ``--top-k``, ``--top-p`` and ``--min-p``."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def drawing_settings(settings: GenerationConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `Strategy`: what was given, else those of the model."""
    chosen = {name: getattr(settings, name) for name in SETTINGS}
    return chosen | {name: given[name] for name in GIVEN if given[name] is not None}
