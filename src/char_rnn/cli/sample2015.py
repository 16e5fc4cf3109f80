"""The flags of sample.lua, and `char-rnn sample` with the output of the programs of 2015 and 2016. Needs no PyTorch."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.options import Function
from char_rnn.cli.output import say, write_bytes, write_pieces

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile

_LENGTH, _SEED = 2000, 123


def flags_of_2015(function: Function) -> Function:
    """Add ``--rng``, ``--torch7``, and the flags of sample.lua that are not names of today's options."""
    switch = click.Choice(["0", "1"])
    for option in (
        click.option("-opencl", type=int, default=0, hidden=True, help="Only 0 is supported."),
        click.option("-gpuid", type=click.IntRange(min=-1), hidden=True, help="-1: CPU; otherwise CUDA."),
        click.option("-verbose", type=switch, default="1", hidden=True, help="0: same as --quiet."),
        click.option("-sample", type=switch, default="1", hidden=True, help="0: always the most likely symbol."),
        click.option(
            "--torch7", is_flag=True, help="Reproduce sample.lua exactly: defaults, random numbers and printed lines."
        ),
        click.option(
            "--rng",
            type=click.Choice(["numpy", "torch7", "torch-rnn"]),
            help="Random numbers: numpy (default), or those of sample.lua or torch-rnn, to reproduce their text.",
        ),
    ):
        function = option(function)
    return function


def check_rng(rng: str | None, torch7: bool, todays: Mapping[str, bool]) -> str:
    """Return which random numbers to use.

    Args:
        rng: ``--rng``, if given.
        torch7: ``--torch7``.
        todays: Whether each option that the older programs lack is given.

    Raises:
        UsageError: The options exclude each other.
    """
    if torch7 and rng not in (None, "torch7"):
        raise click.UsageError(f"--torch7 means --rng torch7; leave out one of --torch7 and --rng {rng}")
    chosen = rng or ("torch7" if torch7 else "numpy")
    given = [name for name, is_given in todays.items() if is_given]
    if chosen != "numpy" and given:
        raise click.UsageError(
            f"{given[0]}: not supported with --rng {chosen}, whose program has no such option; leave one of them out"
        )
    return chosen


def write_as_2015(
    file: ModelFile,
    rng: str,
    *,
    prime: str | None,
    length: int | None,
    temperature: float | None,
    seed: int | None,
    argmax: bool,
    header: bool,
    quiet: bool,
) -> None:
    """Print the text of sample.lua (``rng`` torch7) or torch-rnn, and an end of line.

    Args:
        file: The model.
        rng: torch7 or torch-rnn.
        prime: Text to continue, with the bytes of the command line.
        length: Number of symbols; for this and the next two None is the old program's default.
        temperature: Divisor of the predictions.
        seed: Seed of Torch7's generator; torch-rnn takes a new one each time, which is then printed.
        argmax: Always take the most likely symbol.
        header: Print the first lines of sample.lua.
        quiet: Do not print the seed.
    """
    import secrets

    from char_rnn.torch7.sampling import sample_torch7, sample_torch_rnn

    function = sample_torch7 if rng == "torch7" else sample_torch_rnn
    prime_bytes = os.fsencode(prime or "")
    if seed is None:
        seed = _SEED if rng == "torch7" else secrets.randbits(32)
        if rng == "torch-rnn" and not argmax:
            say(f"seed {seed}", quiet=quiet)
    pieces = function(
        file,
        prime=prime_bytes,
        length=_LENGTH if length is None else length,
        temperature=1.0 if temperature is None else temperature,
        seed=seed,
        argmax=argmax,
    )
    if header:
        _write([_header(file.config.model.type, prime_bytes)])
    _write(pieces)
    _write([b"\n"])


def _header(cell: str, prime: bytes) -> bytes:
    seeding = (
        b"seeding with " + prime if prime else b"missing seed text, using uniform probability over first character"
    )
    return f"creating an {cell}...\n".encode() + seeding + b"\n" + b"-" * 26 + b"\n"


def _write(pieces: Iterable[bytes]) -> None:
    """Write to standard output; control characters are escaped for a terminal."""
    if not sys.stdout.isatty():
        write_bytes(pieces)
        return
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    write_pieces(chain(map(decoder.decode, pieces), [decoder.decode(b"", final=True)]))
