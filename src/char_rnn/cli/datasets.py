"""``char-rnn datasets``."""

from __future__ import annotations

import rich_click as click


@click.command(name="datasets")
def command() -> None:
    """List the named data sets with their sizes and locations.

    \b
    Examples:
      char-rnn datasets
      char-rnn train tinyshakespeare --recipe quickstart
    """
    from char_rnn.data.datasets import data_root, list_datasets

    for info in list_datasets():
        size = f"{info.size / 1e6:.1f} MB" if info.size is not None else "?"
        here = f"at {info.path}" if info.path else "downloaded on first use"
        click.echo(f"{info.name:<16}  {size:>8}  {here}\n    {info.description}")
    click.echo(f"data sets and caches are in {data_root()}; set CHAR_RNN_DATA_DIR to use another folder", err=True)
