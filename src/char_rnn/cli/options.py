"""Options that several subcommands share, and what they mean."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import rich_click as click
from click.exceptions import NoSuchOption

from char_rnn.utils.terminal import visible, visible_name, visible_pieces, wrapped

if TYPE_CHECKING:
    from char_rnn.training import Evaluation
    from char_rnn.utils.device import DeviceManager

Function = TypeVar("Function", bound=Callable[..., Any])

_LONGEST_UNSEEN = 0.1
"""Seconds that text which was made may wait to be written to a file or pipe: there a write costs more than it says."""
DEVICES = ["auto", "cpu", "cuda", "mps"]


class OneDashCommand(click.RichCommand):
    """A command that also has long options by one dash, as the programs of 2015; a misspelt one is named whole."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; click itself takes an unknown ``-word`` for letters and complains of the first."""
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
    """``--quiet``: nothing on standard error but errors."""
    return click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")(function)


def device_option(default: str | None) -> Callable[[Function], Function]:
    """``--device``, with the command's own default."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default=default,
        show_default=default is not None,
        help="Device to compute on; auto is the fastest available.",
    )


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
    """``--recipe``, ``--config`` and ``--set``, later wins."""
    for option in (
        set_option,
        click.option("--config", "config_file", metavar="FILE", help="YAML file with some or all of the values."),
        click.option("--recipe", metavar="NAME", help="Name of a recipe (see `char-rnn config list`)."),
    ):
        function = option(function)
    return function


def device_manager(name: str) -> DeviceManager:
    """Return the manager of the device that ``--device NAME`` asks for."""
    from char_rnn.utils.device import DeviceManager

    if name == "auto":
        return DeviceManager()
    return DeviceManager(name, auto_detect=False, fallback=False)


def check_target(target: Path, endings: Sequence[str], argument: str, *, force: bool) -> None:
    """Refuse a file to be written that has another ending, is a folder, is in none, or, without force, is there."""
    if target.suffix not in endings:
        raise click.BadParameter(f"{target}: must end in {' or '.join(endings)}", param_hint=argument)
    if target.is_dir():
        raise click.BadParameter(f"{target}: is a folder", param_hint=argument)
    if target.exists() and not force:
        raise click.UsageError(f"{target}: exists already; give another name, or --force to replace it")
    if not target.parent.is_dir():
        raise click.BadParameter(f"{target.parent}: no such folder", param_hint=argument)


def describe_evaluation(evaluation: Evaluation, unit: str) -> str:
    """Return an evaluation in words; ``unit`` is what the model predicts, character or byte."""
    return (
        f"{evaluation.loss:.4f} nats per {unit}, {evaluation.bits_per_character:.4f} bits per {unit}, "
        f"perplexity {evaluation.perplexity:.3f}, over {evaluation.characters:,} {unit}s"
        + (f" of the split's {evaluation.of:,}" if evaluation.of is not None else "")
    )


def shown(text: str) -> str:
    """Return a name or another text of a file for one line: what is not printable is escaped."""
    return visible_name(text)


def say(message: str, *, quiet: bool = False, wrap: bool = False) -> None:
    """Print a diagnostic to standard error; control characters are escaped.

    Args:
        message: One line or several.
        quiet: Print nothing.
        wrap: Break lines at words where a terminal is narrower; not for commands, which would be pasted in pieces.
    """
    if not quiet:
        wrap = wrap and sys.stderr.isatty()
        click.echo(wrapped(visible(message), _columns(sys.stderr)) if wrap else visible(message), err=True)


def print_result(text: str) -> None:
    """Print a result and a line end to standard output.

    On a terminal control characters are escaped, and lines that are wider than it are broken at words.
    """
    if sys.stdout.isatty():
        text = wrapped(visible(text), _columns(sys.stdout))
    click.echo(text, color=True)  # without which click takes control sequences out


def _columns(stream: TextIO) -> int:
    from rich.console import Console

    return Console(file=stream).width


def write_text(text: str) -> None:
    """Write text to standard output as :func:`write_pieces` does."""
    write_pieces((text,))


def write_pieces(pieces: Iterable[str]) -> None:
    """Write a text as it comes to standard output, as UTF-8; on a terminal control characters are escaped."""
    shown = visible_pieces(pieces) if sys.stdout.isatty() else pieces
    write_bytes(piece.encode("utf-8", "surrogateescape") for piece in shown)


def write_bytes(pieces: Iterable[bytes]) -> None:
    """Write to standard output as it comes: to a terminal each piece at once, elsewhere often enough."""
    sys.stdout.flush()
    is_terminal, output, due = sys.stdout.isatty(), sys.stdout.buffer, 0.0
    try:
        for piece in pieces:
            output.write(piece)
            if is_terminal or time.monotonic() >= due:
                output.flush()
                due = time.monotonic() + _LONGEST_UNSEEN
    finally:
        output.flush()
