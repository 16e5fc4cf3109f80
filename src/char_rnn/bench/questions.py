"""What is asked of every benchmark, and which there are."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from char_rnn.bench.peers import Peer
    from char_rnn.bench.report import Report

QUESTIONS = {
    "training": "How fast is training, beside plain PyTorch?",
    "generation": "How fast is writing, beside plain PyTorch and what the machine can read?",
    "ops": "How fast are the recurrent layers, beside PyTorch's?",
    "data": "How fast is a text made ready, and in how much memory?",
    "quality": "What is learnt in equal time?",
    "growth": "How does the cost grow with the work, and how near is it to what the machine can do?",
}


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: PyTorch's and the engine's threads.
        rounds: how often each side has its turn.
        quick: few and small cases: seconds, and rough figures.
        text: a file, folder or name of a text, where one is learnt.
        peers: other programs to measure beside this one.
        cases: of ``training``, the names of those to measure, and nothing else; all when not given.
        folder: where what is made on the way goes, for the while.
        progress: told in words what is measured next.
    """

    threads: int = 1
    rounds: int = 5
    quick: bool = False
    text: str = "python-stdlib"
    peers: Sequence[Peer] = ()
    cases: Sequence[str] = ()
    folder: Path | None = None
    progress: Callable[[str], None] | None = None

    def tell(self, what: str) -> None:
        """Say what is measured next."""
        if self.progress is not None:
            self.progress(what)

    def command(self, question: str) -> str:
        """Return the command line that measures like this."""
        words = ["char-rnn", "bench", question, "--threads", str(self.threads), "--rounds", str(self.rounds)]
        words += ["--quick"] if self.quick else []
        words += ["--text", self.text] if question == "quality" else []
        words += [f"--case={name}" for name in self.cases if question == "training"]
        for peer in self.peers_of(question):
            words += ["--peer", f"{question}:{peer.name}={shlex.join(peer.command)}"]
        return shlex.join(words)

    def peers_of(self, question: str) -> list[Peer]:
        """Return the peers that answer a question."""
        return [peer for peer in self.peers if peer.question == question]


def load_numpy() -> None:
    """Load NumPy with one thread of BLAS, if it is not there yet: what reads memory here has threads of its own."""
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import_module("numpy")
    if before is None:
        del os.environ["OPENBLAS_NUM_THREADS"]
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = before


def measure(question: str, settings: Settings) -> Report:
    """Answer a question.

    Raises:
        KeyError: there is none of that name.
        PeerError: a peer's command failed.
    """
    import torch

    from char_rnn.machine import describe_machine

    if question not in QUESTIONS:
        raise KeyError(question)
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    machine = describe_machine()  # what else the machine does is told by its load before
    try:
        found: Report = import_module(f"char_rnn.bench.{question}").measure(settings)
    finally:
        torch.set_num_threads(before)
    return replace(found, machine=machine, command=settings.command(question))
