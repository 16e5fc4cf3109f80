"""How tests start processes that are to get signals."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PRELOADED = ["torch.distributed", "torch.nn.parallel", "torch._dynamo", "char_rnn.cli.train", "char_rnn.training.run"]


class Forked:
    """The command ``char-rnn`` in a process that is forked from one with PyTorch loaded, which saves seconds.

    Args:
        arguments: Of the command.
        environment: Variables to set.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._folder = Path(tempfile.mkdtemp())
        self._outputs = self._folder / "stdout", self._folder / "stderr"
        given = [*arguments], {**os.environ, **(environment or {})}, [str(path) for path in self._outputs]
        self._process = context.Process(target=_run, args=given)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """As of `subprocess.Popen`; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, as `subprocess.Popen` does."""
        assert self._process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; return what was printed to standard output and to standard error."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError("".join(path.read_text() for path in self._outputs))
        out, err = (path.read_text() for path in self._outputs)
        shutil.rmtree(self._folder)
        return out, err


def _run(arguments: list[str], environment: dict[str, str], outputs: list[str]) -> None:
    from char_rnn.cli import main

    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server of forks ignores it
    main(arguments)


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
