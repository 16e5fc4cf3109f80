"""The signals that stop a process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def stopping_at_signals(stop: Callable[[], None], quiet: bool, *, twice: bool = True) -> Iterator[list[int]]:
    """Call ``stop`` at the first Ctrl-C, SIGTERM or SIGHUP (a closed terminal). Yields the signals received.

    Signals that the parent process ignores (nohup, cron) stay ignored. Outside the main thread nothing changes.

    With ``twice``, a second Ctrl-C or SIGTERM interrupts immediately. Not for one of several processes: it gets each
    signal from the terminal and from torchrun, which also kills it if it takes too long.
    """
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if received:
            if twice and number in (signal.SIGINT, signal.SIGTERM):  # a shell repeats SIGHUP of a closed terminal
                raise KeyboardInterrupt
            return
        received.append(number)
        if not quiet:
            again = b" (press Ctrl-C again to stop at once)" if twice else b""
            with suppress(OSError):  # the terminal may be closed
                os.write(2, b"\nstopping after this step" + again + b"\n")
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in _heeded_signals()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded_signals() -> list[int]:
    """Return the signals that end this process, except those that its parent ignores or a program in C handles."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]  # None: set in C
