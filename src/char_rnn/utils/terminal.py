"""Text that is safe to print on a terminal, or to paste into one."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator

# C0 and C1 controls except tab and line feed, delete, and bytes that are not UTF-8 (surrogates); \r\n is a line end.
_CONTROL = re.compile("\r\n|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_LABEL = re.compile(r" *(?:\S+ )*?\S+ {2,}| +")


def visible(text: str) -> str:
    r"""Return the text with control characters as escapes such as ``\x1b``; tabs and line ends stay.

    Control sequences could set the title of a terminal, fill the clipboard, or hide text.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] == "\r\n" else _escape(found[0]), text)


def visible_pieces(pieces: Iterable[str]) -> Iterator[str]:
    r"""Yield the pieces of a text as :func:`visible` returns it, also if a piece ends within ``\r\n``."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield visible(text.removesuffix(held))
    yield visible(held)


def visible_name(text: str) -> str:
    r"""Return a name or another short text in one line, with unprintable characters as escapes."""
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def wrapped(text: str, width: int) -> str:
    """Return a text with lines broken at words to fit a width.

    After a label and two or more spaces, further rows are indented to the text that follows them.
    """
    from rich.console import Console
    from rich.text import Text

    console, rows = Console(), []
    for line in text.split("\n"):
        label = _LABEL.match(line)
        indent = label.end() if label is not None and label.end() < width // 2 else 0
        parts = [part.plain.rstrip() for part in Text(line[indent:]).wrap(console, width - indent)]
        rows += [(" " * indent if number else line[:indent]) + part for number, part in enumerate(parts)]
    return "\n".join(rows)


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path to paste into a command: quoted for the shell, and never an option."""
    text = os.fspath(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def counted(number: int, what: str) -> str:
    """Return a count with its noun, such as "1,024 characters"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type without one."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def in_one_line(error: Exception) -> str:
    """Return an error's whole message in one line, or its type without one."""
    return " ".join(str(error).split()) or type(error).__name__


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
