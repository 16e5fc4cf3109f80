"""Signals that ask a program to end, in this process."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import nullcontext

import pytest
from processes import disposition

from char_rnn.utils.signals import stopping_at_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_stops_and_the_second_interrupts(name: str) -> None:
    number, stopped = getattr(signal, name), []
    with disposition(False, number), stopping_at_signals(lambda: stopped.append(name), quiet=True) as received:
        os.kill(os.getpid(), number)
        assert (received, stopped) == ([number], [name])
        with pytest.raises(KeyboardInterrupt) if name != "SIGHUP" else nullcontext():  # which comes twice
            os.kill(os.getpid(), number)
        assert stopped == [name]


@pytest.mark.parametrize("name", NAMES)
def test_an_ignored_one_stays_ignored(name: str) -> None:
    number = getattr(signal, name)
    with disposition(True, number):
        with stopping_at_signals(pytest.fail, quiet=True) as received:
            os.kill(os.getpid(), number)
            assert received == []
        assert signal.getsignal(number) is signal.SIG_IGN


def test_a_handler_of_a_program_in_c_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python cannot restore such a handler, which `getsignal` returns as None."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    with stopping_at_signals(pytest.fail, quiet=True):
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGTERM) is before
