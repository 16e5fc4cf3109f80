"""Every ``--help`` shows an example and loads no PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_helpers import Command

from char_rnn import __version__
from char_rnn.cli import COMMANDS

PAGES = [[], *([name] for name in COMMANDS), ["config", "list"], ["config", "show"], ["config", "check"]]


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_help_has_an_example(char_rnn: Command, page: list[str]) -> None:
    done = char_rnn(*page, "--help")
    assert done.status == 0
    assert f"char-rnn {' '.join(page)}".strip() in done.out.split("Usage:", 1)[1].split("\n", 1)[1]


def test_an_unknown_command_is_named_with_the_nearest(char_rnn: Command) -> None:
    done = char_rnn("trian", "text.txt")
    assert (done.status, done.err) == (
        2,
        "error: No such command 'trian'. Did you mean 'train'? (see `char-rnn --help`)\n",
    )
    assert char_rnn("xyz").err == "error: No such command 'xyz'. (see `char-rnn --help`)\n"


def test_help_and_import_load_no_torch() -> None:
    script = (
        "import sys, contextlib, io\n"
        "import char_rnn\n"
        "from char_rnn.cli import main, COMMANDS\n"
        "for page in [[], *([name] for name in COMMANDS)]:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        main([*page, '--help'])\n"
        "heavy = {'torch', 'tensorboard', 'matplotlib', 'pydantic', 'pooch', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(char_rnn: Command) -> None:
    assert char_rnn("--version").out == f"char-rnn, version {__version__}\n"


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "char_rnn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"char-rnn, version {__version__}\n"
