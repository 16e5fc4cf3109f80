"""Texts that the command line gives to a model: escapes in them, and prime texts in files.

Nothing here loads NumPy until a file is read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from char_rnn.cli.options import shown
from char_rnn.utils.files import read_bounded, read_regular

if TYPE_CHECKING:
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.model_file import ModelFile

Function = TypeVar("Function", bound=Callable[..., Any])

MAX_PRIME = 64 << 20  # bytes
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.?))", re.DOTALL)
_SINGLE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def escapes_option(options: str) -> Callable[[Function], Function]:
    """``--escapes``, for the options named."""
    return click.option(
        "--escapes", is_flag=True, help=rf"Interpret the escapes \n, \r, \t, \\ and \uXXXX in {options}."
    )


def unescaped(text: str, option: str) -> str:
    r"""Return a text with its escapes read: ``\n``, ``\r``, ``\t``, ``\\`` and ``\uXXXX``.

    Raises:
        BadParameter: Another escape, or half a surrogate pair.
    """

    def character(match: re.Match[str]) -> str:
        code, single = match.groups()
        found = chr(int(code, 16)) if code else _SINGLE.get(single)
        if found is None or "\ud800" <= found <= "\udfff":
            known = r"\n, \r, \t, \\ and \uXXXX (of a character)"
            raise click.BadParameter(f"{match.group()!r} is not an escape; write one of {known}", param_hint=option)
        return found

    return _ESCAPE.sub(character, text)


def read_prime(path: str | Path, file: ModelFile, encoding: str | None, *, strict: bool = True) -> str:
    """Return the prime text in a file (``-`` = standard input) as the model's training text was read.

    Args:
        path: The file.
        file: The model. One of bytes takes the file's bytes as they are.
        encoding: Of the file; ``None`` = that of the training text.
        strict: Refuse what does not fit the encoding; else it becomes U+FFFD.

    Raises:
        DataError: The file does not fit the encoding, or Python does not know the encoding.
        OSError: The file cannot be read, is not a regular file, or is too large.
    """
    from char_rnn.data.errors import DataError
    from char_rnn.data.reading import check_encoding

    name = check_encoding(encoding or file.config.data.encoding)
    is_stream = str(path) == "-"
    data = read_bounded(sys.stdin.buffer, MAX_PRIME, "standard input") if is_stream else read_regular(path, MAX_PRIME)
    if file.vocabulary.kind == "bytes":
        return data.decode("utf-8", "surrogateescape")
    try:
        text = data.decode(name, "strict" if strict else "replace")
    except UnicodeError as error:
        where = "standard input" if is_stream else path
        start = getattr(error, "start", None)  # plain UnicodeErrors have none
        at = "" if start is None else f" (byte 0x{data[start]:02X} at offset {start})"
        raise DataError(f"{where}: not {name}{at}; give its encoding, such as --encoding cp1252 or utf-16") from None
    return text if "\ufeff" in file.vocabulary.char_to_idx else text.removeprefix("\ufeff")


def impossible_stops(stops: tuple[str, ...], at_newline: bool, vocabulary: Vocabulary) -> list[str]:
    """Return a line for each stop text that cannot appear, as the vocabulary lacks a character of it."""
    from char_rnn.data.vocabulary import UnknownCharacterError
    from char_rnn.generation.spelling import canonical

    lines = []
    for stop in stops:
        try:
            vocabulary.encode(canonical(vocabulary, stop))
        except UnknownCharacterError as error:
            hint = r"; give --escapes to read \n as a line end" if error.character == "\\" else ""
            lines.append(f"--stop '{shown(stop)}' never appears: the vocabulary lacks '{shown(error.character)}'{hint}")
    if at_newline and vocabulary.line_end is None:
        lines.append("--stop-at-newline has no effect: the vocabulary has no line end")
    return lines
