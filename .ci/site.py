"""Build the documentation as a site with Zensical, or serve it while you write.

    python .ci/site.py build --clean --strict
    python .ci/site.py serve

Exports the model ``demo`` as the page that the front page embeds, and adds a Pygments lexer for commands.
"""

from __future__ import annotations

import inspect
import os
import textwrap
from pathlib import Path
from typing import ClassVar

import rich_click as click
from pygments.lexer import RegexLexer, bygroups, default
from pygments.lexers import LEXERS
from pygments.token import Comment, Generic, Keyword, Name, Operator, String, Text, Whitespace
from zensical.main import cli as zensical

from char_rnn.cli import cli as char_rnn

__all__ = ["CommandLexer"]
ROOT = Path(__file__).resolve().parents[1]


class CommandLexer(RegexLexer):
    """Commands, one per line; if the first line begins with ``$ ``, the lines without ``$ `` are output."""

    name, aliases = "Command", ("command",)
    tokens: ClassVar = {
        "root": [(r"(?=\$ )", Text, "session"), default("script")],
        "session": [(r"\$ ", Generic.Prompt, "command"), (r".*\n", Generic.Output)],
        "script": [default("command")],
        "command": [
            (r"\n", Whitespace, "#pop"),
            (r"\s+", Whitespace),
            (r"#.*", Comment),
            (r"[A-Z_]+=\S*", Name.Variable),
            (r"(char-rnn)( +)([a-z]+)", bygroups(Name.Function, Whitespace, Keyword), "arguments"),
            (r"\S+", Name.Function, "arguments"),
        ],
        "arguments": [
            (r"\n", Whitespace, "#pop:2"),
            (r"[ \t]+", Whitespace),
            (r"#.*", Comment),
            (r"--?\w[\w-]*", Name.Attribute),
            (r"'[^']*'|\"[^\"]*\"", String),
            (r"&&|\|", Operator, "#pop"),
            (r"[<>&;]|\\\n", Operator),
            (r"[^\s'\"|&;<>\\]+|\\|'|\"", Text),
        ],
    }


def prepare_help(command: click.Command) -> None:
    """Prepare a command and its subcommands for mkdocs-click, which reads a help text as Markdown.

    The examples become a block of commands, and click's marker for a missing default becomes None.
    """
    text, _, examples = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("Examples:\n")
    command.help = text.replace("<", "&lt;")
    if examples:
        command.help += f"Examples:\n\n```\n{textwrap.dedent(examples).strip()}\n```\n"
    context = click.Context(command)
    for parameter in command.get_params(context):
        if str(parameter.default) == "Sentinel.UNSET":
            parameter.default = None
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) is not None:
                prepare_help(found)


if __name__ == "__main__":
    os.chdir(ROOT)
    char_rnn(["export", "demo", "docs/demo-page.html", "--format", "html", "--force"], standalone_mode=False)
    prepare_help(char_rnn)
    LEXERS["CommandLexer"] = (__name__, CommandLexer.name, CommandLexer.aliases, (), ())
    zensical()
