"""Standard streams that are closed, that close, or that cannot print every character; and terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from char_rnn.cli.process import report

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell and pseudo-terminals")
CLOSED = "closed by the program that started this one"


def shell(command: str, **environment: str) -> tuple[int, str]:
    """The status of a command, in which `char-rnn` is the one under test, and what it printed to standard error."""
    command = f'char-rnn() {{ "{sys.executable}" -m char_rnn "$@"; }}; {command}'
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("char-rnn sample {run} --length 20 -q >&-", f"standard output: {CLOSED}"),
        pytest.param("char-rnn --help >&-", f"standard output: {CLOSED}", marks=pytest.mark.slow),
        ("char-rnn sample {run} --prime-file - <&-", f"standard input: {CLOSED}"),
        pytest.param("char-rnn eval {run} - <&-", f"standard input: cannot be read ({CLOSED})", marks=pytest.mark.slow),
        ("char-rnn config show >/dev/full", "no space left on device"),
    ],
)
def test_a_closed_stream_is_one_line(run_folder: Path, command: str, error: str) -> None:
    assert shell(command.format(run=run_folder)) == (1, f"error: {error}\n")


def test_closed_diagnostics_are_no_failure(run_folder: Path) -> None:
    assert shell(f"char-rnn sample {run_folder} --length 5 2>&-") == (0, "")


@pytest.mark.parametrize(
    "command", ["sample {run} --length 3000000 -q", pytest.param("config show", marks=pytest.mark.slow), "--help"]
)
def test_a_reader_that_has_gone_gives_141(run_folder: Path, command: str) -> None:
    command = command.format(run=run_folder)
    assert shell(f"char-rnn {command} | true; exit ${{PIPESTATUS[0]}}") == (141, "")


@pytest.mark.parametrize("reader", ["2>&1 | true", "2>/dev/full"])
def test_an_error_that_nobody_reads_keeps_its_status(reader: str) -> None:
    assert shell(f"char-rnn nosuch {reader}; exit ${{PIPESTATUS[0]}}") == (2, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_in_any_encoding(encoding: str) -> None:
    assert shell("char-rnn sample --help >/dev/null", PYTHONIOENCODING=encoding) == (0, "")


def test_text_on_a_terminal_is_escaped() -> None:
    """Raw into a pipe."""
    import pty

    script = r"from char_rnn.cli.output import *; write_pieces(['é\x1b]', '0;x\x07\n']); print_result('\x1b[2J')"
    piped = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout
    assert piped == "é\x1b]0;x\x07\n\x1b[2J\n".encode()
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stdout=theirs, check=True)
    os.close(theirs)
    assert os.read(ours, 4096).decode().split("\r\n")[:2] == [r"é\x1b]0;x\x07", r"\x1b[2J"]
    os.close(ours)


def test_text_into_a_pipe_waits_for_no_more_text_than_little_time_brings() -> None:
    pieces = "yield 'a'; yield 'b'; time.sleep(0.2); yield 'c'; input(); yield 'd'; raise KeyboardInterrupt"
    script = f"import time; from char_rnn.cli.output import *\ndef pieces(): {pieces}\nwrite_pieces(pieces())"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"abc"
        assert process.communicate(b"\n", timeout=60)[0] == b"d"


def test_a_pipe_that_breaks_under_rich_gives_141_too() -> None:
    """It leaves the program from within, with status 1."""
    leaving = SystemExit(1)
    leaving.__context__ = BrokenPipeError()
    assert report(leaving) == 141
    with pytest.raises(SystemExit):
        report(SystemExit(1))
