"""Stopping in good order when asked to."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stopping_at_signals(stop: Callable[[], None], quiet: bool, *, twice: bool = True) -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into ``stop``; a second one acts as usual if ``twice``. Yields the signals.

    One of several processes gets each signal twice, from the terminal and from torchrun, which also ends it if it takes
    too long.

    Signals reach the main thread alone; elsewhere nothing is changed.
    """
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if received:
            if twice:
                raise KeyboardInterrupt
            return
        received.append(number)
        if not quiet:
            again = b" (once more to stop at once)" if twice else b""
            os.write(2, b"\nstopping after this step" + again + b"\n")
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
