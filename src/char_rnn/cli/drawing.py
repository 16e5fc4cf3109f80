"""The options of drawing characters that every command which draws has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from char_rnn.generation.strategy import Strategy
    from char_rnn.utils.config.schema import GenerationConfig

Function = TypeVar("Function", bound=Callable[..., Any])

GIVEN = ("temperature", "top_k", "top_p", "min_p")
SHARE = click.FloatRange(0, 1, min_open=True)
LIKELIEST = (
    click.option("--top-k", type=click.IntRange(min=1), help="Choose among the K likeliest characters only."),
    click.option("--top-p", type=SHARE, help="Choose among the likeliest that sum to P (nucleus)."),
    click.option("--min-p", type=SHARE, help="Choose among those at least P times as likely as the likeliest."),
)


def temperature_option(*names: str) -> Callable[[Function], Function]:
    """``--temperature``, also by other names."""
    return click.option(
        "--temperature",
        *names,
        type=click.FloatRange(min=0),
        help="Below 1 safer, above 1 bolder; 0 always the likeliest.",
    )


def drawing_options(function: Function) -> Function:
    """``--temperature``, ``--top-k``, ``--top-p`` and ``--min-p``."""
    for option in reversed((temperature_option(), *LIKELIEST)):
        function = option(function)
    return function


def strategy_of(settings: GenerationConfig, given: Mapping[str, Any], **others: Any) -> Strategy:
    """Return how to draw: as was given, else as the model's configuration says.

    Raises:
        UsageError: What was given is no number.
    """
    from char_rnn.generation.strategy import Strategy

    chosen = {name: given[name] for name in GIVEN if given[name] is not None}
    try:
        return Strategy.of(settings, **chosen, **others)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
