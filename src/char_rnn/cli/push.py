"""``char-rnn push``."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.inputs import open_model
from char_rnn.cli.options import quiet_option
from char_rnn.cli.output import say

if TYPE_CHECKING:
    from char_rnn.utils.hub import Address

PAGE = "demo.html"
LONGEST_PRIME = 100  # characters, as of generation.suggested_primes


@click.command(name="push")
@click.argument("run")
@click.argument("name", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="Only you can see a new repository (default: everyone can).")
@click.option("--license", "license_id", metavar="ID", help="Identifier of the license, such as mit or cc-by-4.0.")
@click.option("--description", metavar="TEXT", help="Text for the card and the page.")
@click.option(
    "--prime", "primes", multiple=True, metavar="TEXT",
    help="Beginning of the card's sample, and a prime that the model suggests; may be repeated.",
)  # fmt: skip
@click.option("--message", metavar="TEXT", help="Message of the commit.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Write the files here; send nothing.")
@quiet_option
def command(
    run: str, name: str, private: bool, license_id: str | None, description: str | None, primes: tuple[str, ...],
    message: str | None, out: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Push a model to the Hugging Face Hub, from where everyone can use it as hf://USER/NAME.

    RUN is a run folder (its best model) or another MODEL. Pushed are the model (model.safetensors), its configuration
    (config.json), a card made from the run (README.md) and a page that runs the model (demo.html). They contain no
    path of this machine, and no training text: the primes that the model suggests, frequent line beginnings of its
    text, are replaced by those of --prime. But a model can repeat its training text: check that with `char-rnn
    novelty` first. Look at the files with --out.

    A new repository is made if there is none; in an old one, files of these names are replaced. Log in with `hf auth
    login`, or set HF_TOKEN. This needs the extra hub.

    \b
    Examples:
      char-rnn push runs/my-book anna/my-book --out look
      char-rnn push runs/my-book anna/my-book --license cc-by-4.0 --prime "It was "
      char-rnn push my-book.safetensors anna/my-book --private
    """
    from char_rnn.utils.hub import Address, check_login, upload

    try:
        address = Address.parse(name)
    except ValueError:
        raise click.BadParameter(f"{name}: give USER/NAME, such as anna/my-book", param_hint="USER/NAME") from None
    if address != Address(address.repository):
        raise click.BadParameter(f"{name}: give USER/NAME without a revision or a file", param_hint="USER/NAME")
    if license_id is not None and not re.fullmatch("[a-z0-9.:-]+", license_id):
        raise click.BadParameter(
            f"{license_id!r}: give an identifier in lower-case letters, digits, -, . and :, such as mit or cc-by-4.0",
            param_hint="--license",
        )
    if not all(0 < len(prime) <= LONGEST_PRIME for prime in primes):
        raise click.BadParameter(f"give 1 to {LONGEST_PRIME} characters", param_hint="--prime")
    if out is None:
        check_login(address)
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise click.BadParameter(f"{out}: exists already; give a new folder", param_hint="--out")
    with TemporaryDirectory() if out is None else nullcontext(out) as folder:
        _write(run, Path(folder), address, primes, license_id, description)
        for path in sorted(Path(folder).iterdir()):
            say(f"  {path.name:<20}{path.stat().st_size:>12,} bytes", quiet=quiet)
        if license_id is None:
            say("the card names no license; give one with --license", quiet=quiet)
        if out is not None:
            say(f"wrote {out}; nothing was sent", quiet=quiet)
            return
        show = sys.stderr.isatty() and not quiet
        url = upload(Path(folder), address, private=private or None, message=message, show_progress=show)
    say(f"pushed to {url}; write with it: char-rnn sample {address}", quiet=quiet)


def _write(
    run: str, folder: Path, address: Address, primes: tuple[str, ...], license_id: str | None, description: str | None
) -> None:
    """Write the files of the repository."""
    from char_rnn.cli.inspect import training_command
    from char_rnn.export.html_page import Words as PageWords
    from char_rnn.export.html_page import write_page
    from char_rnn.generation.unknown_characters import default_prime, spelled
    from char_rnn.hub.repository import Words, shareable, write_repository

    file = shareable(open_model(run), primes)
    prime = primes[0] if primes else default_prime(file.vocabulary, file.config.generation.prime)[0]
    spelled(file.vocabulary, prime)  # raises an error that names no option of the sampling
    about = Words(license_id, description, prime, command=training_command(file), page=PAGE)
    write_repository(file, folder, address, about, Path(run))
    write_page(file, folder / PAGE, PageWords(address.name, description=description or ""))
