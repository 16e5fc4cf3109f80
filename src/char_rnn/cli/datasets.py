"""``char-rnn datasets``."""

from __future__ import annotations

import rich_click as click

from char_rnn.cli.options import debug_option


@click.command(name="datasets")
@debug_option
def command() -> None:
    """List the named data sets, their sizes, and whether they are on this machine.

    \b
    Examples:
      char-rnn datasets
      char-rnn train tinyshakespeare --recipe quickstart
    """
    from char_rnn.data.datasets import data_root, list_datasets

    for info in list_datasets():
        size = f"{info.size / 1e6:.1f} MB" if info.size is not None else "?"
        here = f"here: {info.path}" if info.path else "downloaded when first used"
        click.echo(f"{info.name:<16}  {size:>8}  {here}\n    {info.description}")
    click.echo(f"data sets and caches are kept in {data_root()} (CHAR_RNN_DATA_DIR names another place)", err=True)
