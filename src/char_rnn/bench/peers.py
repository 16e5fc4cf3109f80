"""Other programs, timed as whole processes in turn with this one.

A peer is a command with placeholders. It runs at two lengths: the difference gives its rate, and the rest of the
shorter run is its start-up. So the start of an interpreter and the reading of a text do not count.
"""

from __future__ import annotations

import math
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

PLACEHOLDERS = {
    "training": ("text", "steps", "batch", "length", "hidden", "layers", "out"),
    "generation": ("characters", "hidden", "layers", "model"),
}
ITSELF = "char-rnn"


class PeerError(ValueError):
    """A peer cannot be run."""


@dataclass(frozen=True)
class Peer:
    """Another program: the words of its command, with ``{placeholders}`` of ``PLACEHOLDERS``."""

    name: str
    command: tuple[str, ...]
    suite: str = "training"

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Parse ``[SUITE:]NAME=COMMAND``.

        Raises:
            PeerError: The text has another form or an unknown placeholder.
        """
        head, equals, words = text.partition("=")
        suite, colon, name = head.rpartition(":")
        suite = suite if colon else "training"
        try:
            command = tuple(shlex.split(words))
            found = [part for word in command for part in Formatter().parse(word) if part[1] is not None]
        except ValueError as error:
            raise PeerError(f"{text}: {error}") from None
        if not (equals and name.strip() and command):
            raise PeerError(f'{text}: must be NAME=COMMAND, for example "mine=python mine.py {{text}} {{steps}}"')
        if suite not in PLACEHOLDERS:
            raise PeerError(f"{text}: {suite} must be one of {', '.join(PLACEHOLDERS)}")
        known = PLACEHOLDERS[suite]
        used = {str(placeholder) + (":" + spec if spec else "") for _, placeholder, spec, _ in found}
        if used - set(known):
            wrong, right = (", ".join(f"{{{word}}}" for word in each) for each in (sorted(used - set(known)), known))
            raise PeerError(f"{name}: {wrong}: the placeholders for {suite} are {right}")
        return cls(name.strip(), command, suite)

    def run(self, values: Mapping[str, Any], threads: int = 1) -> float:
        """Run the command once with ``OMP_NUM_THREADS`` set to ``threads``; return its seconds.

        Raises:
            PeerError: The command cannot be started, or its exit status is not 0.
        """
        words = [word.format(**values) for word in self.command]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        began = time.perf_counter()
        try:
            done = subprocess.run(
                words,
                env=environment,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise PeerError(f"{self.name}: {words[0]}: {error.strerror or error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing on standard error"]
            raise PeerError(f"{self.name}: {shlex.join(words)} ended with status {done.returncode}: {said[-1]}")
        return time.perf_counter() - began


def parse_peers(texts: Iterable[str]) -> list[Peer]:
    """Parse several peers.

    Raises:
        PeerError: One cannot be parsed, or two have the same name in a suite.
    """
    peers: list[Peer] = []
    for text in texts:
        peer = Peer.parse(text)
        if peer.name in (ITSELF, *(other.name for other in peers if other.suite == peer.suite)):
            raise PeerError(f"{peer.name}: the name is taken; give another")
        peers.append(peer)
    return peers


def compare_programs(
    peers: Sequence[Peer], runs: Sequence[Mapping[str, Any]], length: str, unit: float, rounds: int, threads: int
) -> list[dict[str, Any]]:
    """Run this package's command line and its peers in turn, at two lengths.

    Args:
        peers: The other programs, all of one suite.
        runs: Values of the placeholders for the shorter and for the longer run.
        length: Name of the placeholder that is the length.
        unit: Characters in one unit of length.
        rounds: Rounds of the suite; whole processes take half of them.
        threads: Threads of each program.

    Returns:
        For each program its rate in characters/s, its start-up in seconds and this package's relative speed.

    Raises:
        PeerError: A program failed, or its longer run took no longer than its shorter one.
    """
    everyone = [itself(peers[0].suite, threads), *peers]
    seconds: dict[str, list[list[float]]] = {peer.name: [[], []] for peer in everyone}
    for _ in range(math.ceil(rounds / 2)):
        for which, values in enumerate(runs):
            for peer in everyone:
                seconds[peer.name][which].append(peer.run(values, threads))
    shorter, longer = (values[length] for values in runs)
    each = {name: (median(long) - median(short)) / (longer - shorter) for name, (short, long) in seconds.items()}
    for name, value in each.items():
        if value <= 0:
            advice = f"does its command use {{{length}}}?"
            raise PeerError(f"{name}: {longer} {length} took no longer than {shorter}; {advice}")
    return [
        {
            "program": name,
            "characters/s": unit / value,
            "start, s": max(0.0, median(seconds[name][0]) - value * shorter),
            "char-rnn / it": value / each[ITSELF],
        }
        for name, value in each.items()
    ]


def itself(suite: str, threads: int) -> Peer:
    """Return this package's own command line as a peer."""
    start = (sys.executable, "-m", "char_rnn")
    if suite == "training":
        settings = {
            "model.hidden_size": "{hidden}", "model.num_layers": "{layers}", "training.batch_size": "{batch}",
            "training.seq_length": "{length}", "training.max_steps": "{steps}", "training.max_epochs": 1_000_000,
            "training.eval_interval": 1_000_000, "logging.save_interval": 1_000_000, "logging.sample_length": 0,
            "device.preferred": "cpu", "device.threads": threads,
        }  # fmt: skip
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return Peer(ITSELF, (*start, "train", "{text}", "--quiet", "--out", "{out}", *sets))
    return Peer(ITSELF, (*start, "sample", "{model}", "--quiet", "--seed", "1", "--length", "{characters}"), suite)
