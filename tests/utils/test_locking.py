"""A folder has one holder; the lock ends with its process."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from char_rnn.utils import locking
from char_rnn.utils.locking import FolderInUseError, acquire, holder, holding, release, released_on_error

HOLDER = """
import sys
from pathlib import Path
from char_rnn.utils.locking import acquire
acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_process_is_told_which_is_the_first(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    first = f"process {other.pid} on {socket.gethostname()}"
    assert holder(tmp_path) == first
    with pytest.raises(FolderInUseError, match=f"^{re.escape(str(tmp_path))}: {first} is using this folder"):
        acquire(tmp_path)
    copy = shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    assert holder(copy) is None
    other.communicate("")
    assert list(tmp_path.iterdir()) == []
    acquire(tmp_path)
    assert (holder(tmp_path), (tmp_path / ".lock").exists()) == (None, True)
    release(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_dies_with_its_process(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    other.wait()
    assert (tmp_path / ".lock").exists()
    assert holder(tmp_path) is None
    with holding(tmp_path):
        acquire(tmp_path)  # it has it already
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs the fork of POSIX")
def test_a_fork_does_not_hold_the_lock_after_its_parent(tmp_path: Path) -> None:
    code = HOLDER.replace('print("held", flush=True)', "import os; os.fork() or print('held', flush=True)")
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"  # by the fork, which then waits for its input
        assert holder(tmp_path) == f"process {process.pid} on {socket.gethostname()}"
        process.kill()
        process.wait()
        assert holder(tmp_path) is None


def test_an_error_releases(tmp_path: Path) -> None:
    acquire(tmp_path)
    with pytest.raises(ValueError, match="no"), released_on_error(tmp_path):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
    with holding(None), released_on_error(None):
        release(tmp_path)


def test_where_nothing_can_be_locked_there_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a system with neither fcntl nor msvcrt, or a network file system without locks."""
    monkeypatch.setattr(locking, "_module", lambda name: None)
    with caplog.at_level(logging.WARNING, "char_rnn"):
        acquire(tmp_path)
    assert "cannot be locked" in caplog.text
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs the pipes of POSIX")
def test_a_pipe_for_a_lock_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert holder(tmp_path) is None
    with pytest.raises(OSError, match="not a regular file"):
        acquire(tmp_path)
