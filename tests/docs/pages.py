"""What stands on a page: its blocks of commands and of Python, what is marked as not run, and code in sentences.

Commands stand in a fenced block without a language, a line each, or where lines begin with ``$ ``, indented or fenced,
in those lines alone, and what they print is the rest. A line that ends in a backslash, or within quotation marks, goes
on in the next. Output alone
is a block of ``text``. ``<!-- not run: reason -->`` before a block says that nothing of it is run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (
    "char-rnn",
    "mkdir",
    "cp",
    "git",
    "gzip",
    "hf",
    "python",
    "torchrun",
    "pip",
    "pytest",
    "bash",
    "tensorboard",
    "trackio",
    "jupyter",
    "pipx",
    "uv",
    "uvx",
    "ruff",
    "mypy",
    "apt-get",
    "apt-cache",
    "bible",
    "cat",
    "cut",
    "find",
    "zcat",
    "curl",
    "llm",
    "lm_eval",
    "th",
)
COMMANDS, PYTHON = "commands", "python"
MARK = re.compile(r"<!-- not run: (.+?) -->")
FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([^`]*)$")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)", re.DOTALL)


class PageError(ValueError):
    """A page is not written as it has to be."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        kind: ``COMMANDS`` or ``PYTHON``.
        lines: the commands, each in one line, or the program.
        line: where it begins on the page, from 1.
        not_run: why it is not run; None if it is.
        failing: the commands whose output is an error.
    """

    kind: str
    lines: tuple[str, ...]
    line: int
    not_run: str | None = None
    failing: tuple[str, ...] = ()


def pages() -> list[Path]:
    """All pages, those of the repository's front included."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """Return the blocks of commands and of Python on a page.

    Raises:
        PageError: a block without a language holds something else.
    """
    found = []
    for number, language, lines, mark in _code(text):
        if language in ("", "sh", "console"):
            commands = commands_of(lines, number)
            failing = tuple(command for command, said in commands if said.startswith("error: "))
            found.append(Block(COMMANDS, tuple(command for command, _ in commands), number, mark, failing))
        elif language == "python":
            found.append(Block(PYTHON, tuple(lines), number, mark))
    return found


def commands_of(lines: list[str], number: int = 0) -> list[tuple[str, str]]:
    """Return the commands of a block, each in one line, and the first line that each prints on the page.

    Raises:
        PageError: a line is no command, in a block that does not say which are.
    """
    said = any(line.startswith("$ ") for line in lines)
    commands: list[tuple[str, str]] = []
    joint = None
    for offset, line in enumerate(lines, 1):
        if joint is not None:
            command = commands.pop()[0] + joint + (line.strip() if joint == " " else line)
        elif line.startswith("$ "):
            command = line[2:].strip()
        elif said:
            if line.strip() and commands and not commands[-1][1]:
                commands[-1] = (commands[-1][0], line)
            continue
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        elif line.split()[0] in PROGRAMS or re.match(r"\w+=\S* ", line):
            command = line.strip()
        else:
            raise PageError(f"line {number + offset}: {line.strip()!r} is no command; is the block one of ```text?")
        joint = " " if command.endswith("\\") else None if _is_whole(command) else "\n"
        commands.append((command.removesuffix("\\").rstrip(" "), ""))
    return commands


def _is_whole(command: str) -> bool:
    """Whether all quotation marks are closed."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def spans(text: str) -> list[str]:
    """Return the code in sentences and tables, outside of blocks, each in one line."""
    prose, inside = [], ""
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence and (not inside or (fence[2].startswith(inside) and not fence[3])):
            inside = "" if inside else fence[2]
        elif not inside and not line.startswith("    "):
            prose.append(line)
    return [" ".join(span.split()) for paragraph in "\n".join(prose).split("\n\n") for span in SPAN.findall(paragraph)]


def _code(text: str) -> list[tuple[int, str, list[str], str | None]]:
    """Return (line, language, lines, mark) of each block, fenced or indented with a ``$ `` in it."""
    found: list[tuple[int, str, list[str], str | None]] = []
    lines = text.splitlines()
    mark: str | None = None
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := FENCE.match(line):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == fence[2]), None)
            if end is None:
                raise PageError(f"line {at + 1}: this block does not end")
            inner = [each[len(fence[1]) :] for each in lines[at + 1 : end]]
            found.append((at + 1, fence[3].strip(), inner, mark))
            at, mark = end, None
        elif line.startswith("    $ ") and not (at and lines[at - 1].strip()):
            end = next((i for i in range(at, len(lines)) if lines[i].strip() and not lines[i].startswith("    ")), None)
            inner = [each[4:] for each in lines[at:end]]
            found.append((at + 1, "", inner, mark))
            at, mark = (len(lines) if end is None else end) - 1, None
        elif marked := MARK.search(line):
            mark = marked[1]
        elif line.strip():
            mark = None
        at += 1
    return found
