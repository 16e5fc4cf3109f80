"""The command ``char-rnn``: one file a subcommand, loaded when it is called.

Text goes to standard output, everything else to standard error. Exit status: 0, 2 for an invalid command line or
configuration, 1 for any other failure, 141 when the reader of the output has closed it, 128 plus the signal's number
after a signal (130 after Ctrl-C).
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import rich_click as click
from click.exceptions import Exit

from char_rnn._version import __version__
from char_rnn.cli.process import prepare_streams, report

COMMANDS = (
    "train",
    "sweep",
    "sample",
    "interact",
    "serve",
    "eval",
    "novelty",
    "inspect",
    "convert",
    "export",
    "push",
    "config",
    "datasets",
    "runs",
    "plot",
    "doctor",
    "bench",
)


DEBUG = click.Option(["--debug"], is_flag=True, expose_value=False, hidden=True)
"""``--debug`` after the subcommand as well as before it."""


class LazyGroup(click.RichGroup):
    """A group that imports the file of a subcommand when it is called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the subcommand ``name``."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"char_rnn.cli.{name}").command
        for each in (command, *getattr(command, "commands", {}).values()):
            if DEBUG not in each.params:
                each.params.append(DEBUG)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the subcommand that is called; the error for an unknown one names the nearest."""
        if nearest := [] if args[0] in COMMANDS else get_close_matches(args[0], COMMANDS, n=1):
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{nearest[0]}'?")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, "-V", "--version", prog_name="char-rnn")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Train character-level language models on your own texts, and generate text with them.

    \b
    Examples:
      char-rnn train my-book.txt --minutes 5 --out runs/my-book
      char-rnn sample runs/my-book --prime "It was " --temperature 0.8
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    atexit.register(gc.freeze)  # garbage collection at exit takes most of a second with PyTorch
    try:
        status = cli.main(args=arguments, prog_name="char-rnn", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        if "--debug" in arguments and isinstance(error, Exception) and not isinstance(error, Exit):
            raise
        status = report(error)
    sys.exit(status if isinstance(status, int) else 0)
