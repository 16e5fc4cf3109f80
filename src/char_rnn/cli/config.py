"""``char-rnn config``."""

from __future__ import annotations

import rich_click as click

from char_rnn.cli.options import config_options
from char_rnn.cli.output import print_result


@click.group(name="config")
def command() -> None:
    """List recipes, print a complete configuration, or check a configuration file.

    \b
    Examples:
      char-rnn config list
      char-rnn config show --recipe quickstart > my.yaml
      char-rnn config check my.yaml
    """


@command.command(name="list")
def list_() -> None:
    """List the recipes that come with char-rnn.

    \b
    Examples:
      char-rnn config list
    """
    from char_rnn.utils.config import recipes

    described = recipes()
    width = max(map(len, described))
    for name, description in described.items():
        print_result(f"{name:<{width}}  {description}")


@command.command()
@config_options
def show(recipe: str | None, config_file: str | None, overrides: tuple[str, ...]) -> None:
    """Print a complete configuration as YAML, with a description of each key.

    \b
    Examples:
      char-rnn config show --recipe quickstart --set model.hidden_size=256 > my.yaml
    """
    from char_rnn.utils.config import compose_config, to_yaml

    click.echo(to_yaml(compose_config(recipe, config_file, overrides), comments=True), nl=False)


@command.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """Check the keys, types and ranges in configuration files.

    \b
    Examples:
      char-rnn config check my.yaml
    """
    from char_rnn.utils.config import load_config

    for file in files:
        load_config(file)
        print_result(f"{file}: valid")
