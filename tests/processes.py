"""How tests start processes that are to get signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disposition(ignored: bool, *numbers: int) -> Iterator[None]:
    """Ignore signals, or do not, in this process and in those that are started meanwhile.

    A test run that is itself started in the background of a script, or by nohup, ignores some.
    """
    handler = signal.SIG_IGN if ignored else signal.default_int_handler  # a handler is the default in a new process
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder like another process."""
    fcntl = pytest.importorskip("fcntl")
    path = folder / ".lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    path.unlink()
