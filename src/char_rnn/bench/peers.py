"""Other programs, timed as whole processes in turn with this one.

A peer is a command with places to fill in. It is run at two lengths; the difference is its rate, and what the shorter
took beyond that its start. So neither the start of an interpreter nor the reading of a text counts as speed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from string import Formatter
from typing import Any

FIELDS = {
    "training": ("text", "steps", "batch", "length", "hidden", "layers", "out"),
    "generation": ("characters", "hidden", "layers", "model"),
}
ITSELF = "char-rnn"


class PeerError(ValueError):
    """A peer cannot be run."""


@dataclass(frozen=True)
class Peer:
    """Another program.

    Attributes:
        name: what its figures are called.
        command: its words, with ``{places}`` of ``FIELDS``.
        question: which it answers.
    """

    name: str
    command: tuple[str, ...]
    question: str = "training"

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Read ``[QUESTION:]NAME=COMMAND``.

        Raises:
            PeerError: it is nothing of that kind, or has places that are not known.
        """
        head, equals, words = text.partition("=")
        question, colon, name = head.rpartition(":")
        question = question if colon else "training"
        try:
            command = tuple(shlex.split(words))
            found = [part for word in command for part in Formatter().parse(word) if part[1] is not None]
        except ValueError as error:
            raise PeerError(f"{text}: {error}") from None
        places = {str(place) + (":" + spec if spec else "") for _, place, spec, _ in found}
        if not (equals and name.strip() and command):
            raise PeerError(f'{text}: must read NAME=COMMAND, for example "mine=python mine.py {{text}} {{steps}}"')
        if question not in FIELDS:
            raise PeerError(f"{text}: {question} must be one of {', '.join(FIELDS)}")
        known = FIELDS[question]
        if places - set(known):
            wrong = ", ".join(f"{{{place}}}" for place in sorted(places - set(known)))
            raise PeerError(f"{name}: {wrong}: the places for {question} are {', '.join(f'{{{k}}}' for k in known)}")
        return cls(name.strip(), command, question)

    def run(self, values: Mapping[str, Any], threads: int = 1) -> float:
        """Run it once, ``OMP_NUM_THREADS`` set to the threads; return its seconds.

        Raises:
            PeerError: it cannot be started, or ends with another status than 0.
        """
        words = [word.format(**values) for word in self.command]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        began = time.perf_counter()
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                check=False,
            )
        except OSError as error:
            raise PeerError(f"{self.name}: {words[0]}: {error.strerror or error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing on standard error"]
            raise PeerError(f"{self.name}: {shlex.join(words)} ended with status {done.returncode}: {said[-1]}")
        return time.perf_counter() - began


def parse_peers(texts: Iterable[str]) -> list[Peer]:
    """Read several, whose names must differ.

    Raises:
        PeerError: one cannot be read, or has a name that is taken.
    """
    peers: list[Peer] = []
    for text in texts:
        peer = Peer.parse(text)
        if peer.name in (ITSELF, *(other.name for other in peers if other.question == peer.question)):
            raise PeerError(f"{peer.name}: the name is taken; give another")
        peers.append(peer)
    return peers


@dataclass(frozen=True)
class Rate:
    """What a whole process does.

    Attributes:
        per_second: of what it was asked for, once it runs.
        start: seconds before that.
    """

    per_second: float
    start: float


def rates_of(
    peers: Sequence[Peer], asked: Sequence[Mapping[str, Any]], count: str, rounds: int, threads: int = 1
) -> dict[str, Rate]:
    """Run programs in turn at two lengths.

    Args:
        peers: the programs.
        asked: the values of their places, for the shorter and the longer run.
        count: which of the values is the length.
        rounds: how often each has its turn.
        threads: that each is told to use.

    Raises:
        PeerError: one failed, or its longer run took no longer than its shorter.
    """
    seconds: dict[str, list[list[float]]] = {peer.name: [[], []] for peer in peers}
    for _ in range(rounds):
        for which, values in enumerate(asked):
            for peer in peers:
                seconds[peer.name][which].append(peer.run(values, threads))
    shorter, longer = (values[count] for values in asked)
    rates = {}
    for name, (short, long) in seconds.items():
        each = (median(long) - median(short)) / (longer - shorter)
        if each <= 0:
            raise PeerError(
                f"{name}: {longer} {count} took no longer than {shorter}; does its command use {{{count}}}?"
            )
        rates[name] = Rate(1 / each, max(0.0, median(short) - each * shorter))
    return rates


def itself(question: str, threads: int) -> Peer:
    """Return this package's own command line as such a program."""
    start = (sys.executable, "-m", "char_rnn")
    if question == "training":
        settings = {
            "model.hidden_size": "{hidden}", "model.num_layers": "{layers}", "training.batch_size": "{batch}",
            "training.seq_length": "{length}", "training.max_steps": "{steps}", "training.max_epochs": 1_000_000,
            "training.eval_interval": 1_000_000, "logging.save_interval": 1_000_000, "logging.sample_length": 0,
            "device.preferred": "cpu", "device.threads": threads,
        }  # fmt: skip
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return Peer(ITSELF, (*start, "train", "{text}", "--quiet", "--out", "{out}", *sets))
    return Peer(ITSELF, (*start, "sample", "{model}", "--quiet", "--seed", "1", "--length", "{characters}"), question)
