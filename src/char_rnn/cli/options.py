"""Options that several subcommands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from click.exceptions import NoSuchOption

if TYPE_CHECKING:
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
            word = next((word for word in given if word[:2] == error.option_name and word[:2] != "--"), None)
            if word is None or len(word) == 2:
                raise
            names = [name for option in self.params for name in option.opts]
            raise NoSuchOption(word, possibilities=get_close_matches(word, names), ctx=ctx) from None


def debug_option(function: Function) -> Function:
    """``--debug`` after the subcommand as well as before it."""
    option = click.option(
        "--debug", is_flag=True, expose_value=False, hidden=True, help="Show the traceback of an error."
    )
    return option(function)


def quiet_option(function: Function) -> Function:
    """``--quiet``: nothing on standard error except errors."""
    return click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")(function)


def json_option(function: Function) -> Function:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)


def device_option(default: str | None) -> Callable[[Function], Function]:
    """``--device``, with the command's own default."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default=default,
        help="Device to compute on; auto is the fastest available.",
    )


def minutes_option(help_text: str) -> Callable[[Function], Function]:
    """``--minutes``."""
    return click.option("--minutes", type=click.FloatRange(min=0, min_open=True), metavar="M", help=help_text)


def set_option(function: Function) -> Function:
    """``--set``."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Configuration value to set; may be repeated.",
    )(function)


def config_options(function: Function) -> Function:
    """``--recipe``, ``--config`` and ``--set``; the last one wins."""
    file = click.option("--config", "config_file", metavar="FILE", help="YAML file with some or all of the values.")
    recipe = click.option("--recipe", metavar="NAME", help="Name of a recipe (see `char-rnn config list`).")
    return recipe(file(set_option(function)))


def device_manager(name: str) -> DeviceManager:
    """Return the manager of the device that ``--device NAME`` asks for."""
    from char_rnn.utils.device import DeviceManager

    if name == "auto":
        return DeviceManager()
    return DeviceManager(name, auto_detect=False, fallback=False)


def check_target(target: Path, endings: Sequence[str], argument: str, *, force: bool) -> None:
    """Raise a usage error if a file cannot be written: for its ending, its folder, or an existing file."""
    if target.suffix not in endings:
        raise click.BadParameter(f"{target}: must end in {' or '.join(endings)}", param_hint=argument)
    if target.is_dir():
        raise click.BadParameter(f"{target}: is a folder", param_hint=argument)
    if target.exists() and not force:
        raise click.UsageError(f"{target}: exists already; give another name, or --force to replace it")
    if not target.parent.is_dir():
        raise click.BadParameter(f"{target.parent}: no such folder", param_hint=argument)
