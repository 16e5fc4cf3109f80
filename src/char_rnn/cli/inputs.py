"""Inputs of the subcommands: MODEL, DATA read as a model's training text, primes, and escapes in texts.

Nothing here loads NumPy until a file is read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.options import Function
from char_rnn.cli.output import preparation
from char_rnn.utils.files import read_bounded, read_regular
from char_rnn.utils.terminal import visible_name

if TYPE_CHECKING:
    from char_rnn.data.corpus import Corpus
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.model_file import ModelFile, ModelHeader

UNKNOWN_ADVICE = "give --unknown skip to leave it out, or --unknown nearest"
MAX_PRIME = 64 << 20  # bytes
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.?))", re.DOTALL)
_SINGLE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def open_model(model: str | Path, *, any_cell: bool = False) -> ModelFile:
    """Read a run folder (its best model), a ``.safetensors`` file, a ``.t7`` checkpoint of 2015, or one of the Hub.

    With `any_cell`, its cell need not be defined here, as it is only described.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is not a model; the message says why.
    """
    from char_rnn.model_file import ModelFile
    from char_rnn.torch7.t7 import is_t7

    path = locate_model(model)
    if not is_t7(path):
        return ModelFile.read(path, any_cell=any_cell)
    from char_rnn.torch7.checkpoints import read_model

    return read_model(path)


def locate_model(model: str | Path) -> Path:
    """Return the file of a model; show the progress of a download, unless the command is quiet."""
    from char_rnn.utils.hub import is_address
    from char_rnn.utils.model_files import find_model

    if not is_address(model):
        return find_model(model)
    context = click.get_current_context(silent=True)
    with preparation(context is not None and bool(context.params.get("quiet"))) as progress:
        return find_model(model, progress)


def is_model(argument: str) -> bool:
    """Whether an argument is a run folder with a model, a model file, or the name of the model in the package."""
    from char_rnn.torch7.t7 import is_t7
    from char_rnn.utils.hub import is_address
    from char_rnn.utils.model_files import find_model

    if is_address(argument):
        return True
    try:
        path = find_model(argument)
        return path.suffix == ".safetensors" or is_t7(path)
    except (OSError, ValueError):
        return False


def reading_of(file: ModelFile | ModelHeader, encoding: str | None) -> dict[str, Any]:
    """Return how a model's text is read, as options of ``prepare_corpus`` and ``find_locations``."""
    data = file.config.data
    return {"encoding": encoding or data.encoding, "separator": data.separator, "file_order": data.file_order}


def read_text(
    data: tuple[str, ...],
    file: ModelFile | ModelHeader,
    encoding: str | None,
    quiet: bool,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Prepare DATA like a model's training text: in `vocabulary`, or one of its own of the model's kind."""
    from char_rnn.data.corpus import prepare_corpus

    reading = {"vocabulary": vocabulary or file.vocabulary.kind, **reading_of(file, encoding)}
    with preparation(quiet) as progress:
        return prepare_corpus(data, progress=progress, **reading)


def foreign_text(name: str, file: ModelFile | ModelHeader, corpus: Corpus) -> str:
    """Return a remark about a text that is not known to be the model's training text; empty if it is."""
    recorded = file.training.get("data_sha256")
    if recorded is None:  # a checkpoint of 2015, or its conversion
        return f"{name} does not record its training text"
    return "" if corpus.sha256 == recorded else f"{corpus.name} is not the text that {name} was trained on"


def escapes_option(options: str) -> Callable[[Function], Function]:
    """``--escapes``, which applies to ``options``."""
    return click.option(
        "--escapes", is_flag=True, help=rf"Interpret the escapes \n, \r, \t, \\ and \uXXXX in {options}."
    )


def unescaped(text: str, option: str) -> str:
    r"""Return a text with its escapes replaced: ``\n``, ``\r``, ``\t``, ``\\`` and ``\uXXXX`` of a whole character."""

    def character(match: re.Match[str]) -> str:
        code, single = match.groups()
        found = chr(int(code, 16)) if code else _SINGLE.get(single)
        if found is None or "\ud800" <= found <= "\udfff":
            known = r"\n, \r, \t, \\ and \uXXXX (of a character)"
            raise click.BadParameter(f"{match.group()!r} is not an escape; write one of {known}", param_hint=option)
        return found

    return _ESCAPE.sub(character, text)


def read_prime(path: str | Path, file: ModelFile, encoding: str | None, *, strict: bool = True) -> str:
    """Return the prime in a file, read as the model's training text was.

    Args:
        path: The file; ``-`` is standard input.
        file: The model. A byte model takes the file's bytes unchanged.
        encoding: Encoding of the file; ``None`` is that of the training text.
        strict: Raise an error for bytes that do not fit the encoding; else they become U+FFFD.

    Raises:
        DataError: The file does not fit the encoding, or the encoding is unknown.
        OSError: The file cannot be read, is not a regular file, or is too large.
    """
    from char_rnn.data import DataError
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
        start = getattr(error, "start", None)  # a plain UnicodeError has none
        at = "" if start is None else f" (byte 0x{data[start]:02X} at offset {start})"
        raise DataError(f"{where}: not {name}{at}; give its encoding, such as --encoding cp1252 or utf-16") from None
    return text if "\ufeff" in file.vocabulary.char_to_idx else text.removeprefix("\ufeff")


def impossible_stops(stops: tuple[str, ...], at_newline: bool, vocabulary: Vocabulary) -> list[str]:
    """Return a line for each stop text that cannot appear because the vocabulary lacks a character of it."""
    from char_rnn.data.vocabulary import UnknownCharacterError
    from char_rnn.generation.unknown_characters import canonical

    lines = []
    for stop in stops:
        try:
            vocabulary.encode(canonical(vocabulary, stop))
        except UnknownCharacterError as error:
            hint = r"; give --escapes to read \n as a line end" if error.character == "\\" else ""
            name, character = visible_name(stop), visible_name(error.character)
            lines.append(f"--stop '{name}' never appears: the vocabulary lacks '{character}'{hint}")
    if at_newline and vocabulary.line_end is None:
        lines.append("--stop-at-newline has no effect: the vocabulary has no line end")
    return lines
