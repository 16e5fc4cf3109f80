"""Options that several subcommands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from click.exceptions import NoSuchOption

from char_rnn.sampling.options import NUMBERS, OPTIONS, Range, Strategy

if TYPE_CHECKING:
    from char_rnn.utils.config.schema import GenerationConfig
    from char_rnn.utils.device import DeviceManager

Function = TypeVar("Function", bound=Callable[..., Any])

DEVICES = ["auto", "cpu", "cuda", "mps"]


class OneDashCommand(click.RichCommand):
    """A command with long options after one dash, as in 2015; an error names a misspelt one completely."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; click itself reads an unknown ``-word`` as letters and reports the first."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            names = {name for option in self.params for name in option.opts}
            letter = error.option_name[1:]  # the first that is not an option; "-" and more for a long option
            unknown = (word.partition("=")[0] for word in given if word[:1] == "-" and letter in word[1:])
            word = next((word for word in unknown if word not in names), error.option_name)
            raise NoSuchOption(word, possibilities=get_close_matches(word, names, cutoff=0.75), ctx=ctx) from None


def all_options(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Return a decorator that adds several options, which the help lists in this order."""
    return lambda function: reduce(lambda changed, option: option(changed), reversed(options), function)


quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Configuration value to set; may be repeated.",
)
config_options = all_options(
    click.option("--recipe", metavar="NAME", help="Name of a recipe (see `char-rnn config list`)."),
    click.option("--config", "config_file", metavar="FILE", help="YAML file with some or all of the values."),
    set_option,
)
"""``--recipe``, ``--config`` and ``--set``; the last one wins."""


def finite(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN and infinity, as the callback of an option: click's ranges accept NaN."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def check_needed(needed: str, given: bool, **others: object) -> None:
    """Refuse `others`, options by their parameters' names, unless the option that they need is given."""
    for name, value in others.items():
        if value is not None and not given:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} has no effect without {needed}; give both, or neither")


def device_option(default: str | None) -> Callable[[Function], Function]:
    """``--device``, with the command's own default."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default=default,
        help="Device to compute on; auto = the first of mps, cuda, cpu that is available.",
    )


def minutes_option(help_text: str) -> Callable[[Function], Function]:
    """``--minutes``."""
    return click.option("--minutes", type=click.FloatRange(min=0, min_open=True), metavar="M", help=help_text)


def strategy_flags(names: Iterable[str] = NUMBERS, **aliases: str) -> Callable[[Function], Function]:
    """The flags of some sampling options, each ``None`` when not given; `aliases` are further flags by option."""
    added = []
    for name in names:
        option, alias = OPTIONS[name], [aliases[name]] if name in aliases else []
        kind = {"metavar": "TEXT"} if option.range.type is str else {"type": _type(option.range)}
        added.append(click.option(option.flag, *alias, name, help=option.help, **kind))
    return all_options(*added)


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


def _type(valid: Range) -> click.IntRange | click.FloatRange:
    if valid.type is int:
        return click.IntRange(valid.least, valid.most)
    return click.FloatRange(valid.least, valid.most, min_open=valid.excludes_least)


def device_manager(name: str) -> DeviceManager:
    """Return the manager of the device that ``--device NAME`` asks for."""
    from char_rnn.utils.device import DeviceManager

    if name == "auto":
        return DeviceManager()
    return DeviceManager(name, auto_detect=False, fallback=False)


def refuse_opencl(opencl: int) -> None:
    """Raise a usage error for ``-opencl 1``."""
    if opencl:
        raise click.UsageError(
            "-opencl 1: OpenCL is not supported; leave it out for the CPU, or give -gpuid 0 (NVIDIA, AMD)"
            " or --device mps (Apple)"
        )


def check_target(target: Path, endings: Sequence[str], argument: str, *, force: bool | None) -> None:
    """Raise a usage error if a file cannot be written: for its ending, its folder, or an existing file.

    `force` is None for commands without ``--force``.
    """
    if target.suffix not in endings:
        raise click.BadParameter(f"{target}: must end in {' or '.join(endings)}", param_hint=argument)
    if target.is_dir():
        raise click.BadParameter(f"{target}: is a folder", param_hint=argument)
    if target.exists() and not force:
        advice = "give another name" if force is None else "give another name, or --force to replace it"
        raise click.UsageError(f"{target}: exists already; {advice}")
    if not target.parent.is_dir():
        raise click.BadParameter(f"{target.parent}: no such folder", param_hint=argument)
