"""The page of a run that is training, for ``char-rnn train --open``.

Another process serves the page, at low priority: `main`. It starts while PyTorch is imported, gets the run folder on
its standard input when the folder exists, and prints the address of the page. It ends when its standard input ends, so
it ends with the training, also if that is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from char_rnn.cli.output import say
from char_rnn.cli.serve import check_installed, compute_with

NICENESS = 10
SECONDS_TO_START, SECONDS_TO_END = 20, 5


class TrainingPage:
    """The process that serves the page, which ends after the block.

    Raises:
        ClickException: The extra playground is not installed.
    """

    def __init__(self) -> None:
        check_installed()
        self._address: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "char_rnn.cli.training_page"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def open(self, folder: Path, quiet: bool) -> None:
        """Show a run folder in a browser, or print the address; after a failure, training continues without a page."""
        answer: list[str] = []

        def ask() -> None:
            with suppress(OSError, ValueError):
                print(json.dumps(os.fspath(folder.absolute())), file=self._input, flush=True)
                answer.append(self._output.readline().strip())

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(SECONDS_TO_START)
        line = answer[0] if answer else ""
        if not line.startswith("http"):
            say(f"warning: the page could not be opened{line and f' ({line})'}; training continues without it")
            return
        self._address = line
        opens = _has_browser()
        if opens:
            threading.Thread(target=webbrowser.open, args=(line,), daemon=True).start()
        say(f"the page of this run: {line}", quiet=quiet and opens)

    def wait(self) -> None:
        """After the training, keep the page open on a terminal until Ctrl-C."""
        if self._address is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return
        say(f"the page stays open at {self._address}; press Ctrl-C to close it")
        with suppress(KeyboardInterrupt):
            self._process.wait()

    def __enter__(self) -> TrainingPage:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        with suppress(OSError):
            self._input.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


def _has_browser() -> bool:
    """Return whether there is a browser with a window; one in this terminal would disturb the training."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")))


def main() -> None:
    """Serve the page of the run folder on standard input, and print the address, or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the training, which then closes the page
    compute_with(threads=1)
    from char_rnn.cli.process import one_line
    from char_rnn.playground.access import Access
    from char_rnn.playground.served_model import model_names
    from char_rnn.playground.server import Server, address_of, bind, create_app

    if not (line := sys.stdin.readline()):
        return
    folder = Path(json.loads(line))
    try:
        access = Access(os.environ.get("CHAR_RNN_API_KEY") or None)
        app = create_app({model_names([folder])[0]: folder}, threads=1, access=access)
        with bind("127.0.0.1", 0) as bound:
            server = Server(app, lambda: _begin(address_of(bound)))
            threading.Thread(target=_end_with_the_input, args=(server.end,), daemon=True).start()
            server.run(sockets=[bound])
    except Exception as error:
        print(one_line(error), flush=True)


def _begin(address: str) -> None:
    """Print the address, and leave the processor to the training from now on."""
    print(address, flush=True)
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def _end_with_the_input(end: Callable[[], None]) -> None:
    sys.stdin.read()
    end()
    time.sleep(2 * SECONDS_TO_END)
    os._exit(1)


if __name__ == "__main__":
    main()
