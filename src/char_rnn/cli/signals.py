"""Stopping in good order when asked to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def stopping_at_signals(stop: Callable[[], None], quiet: bool, *, twice: bool = True) -> Iterator[list[int]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP (a closed terminal) into ``stop``. Yields the signals received.

    A second Ctrl-C or SIGTERM interrupts at once if ``twice``. What the parent process ignores (nohup, cron) stays
    ignored.

    One of several processes gets each signal twice, from the terminal and from torchrun, which also ends it if it takes
    too long.

    Signals reach the main thread alone; elsewhere nothing is changed.
    """
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if received:
            if twice and number in (signal.SIGINT, signal.SIGTERM):  # of a closed terminal the shell tells once more
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
    before = {number: signal.signal(number, handle) for number in heeded_signals()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heeded_signals() -> list[int]:
    """Return the signals that ask this process to end, without those that its parent has set to be ignored."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
