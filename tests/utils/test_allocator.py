"""The memory of a training stays in the process for its duration, where glibc allocates it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from char_rnn.utils import allocator
from char_rnn.utils.allocator import AFTERWARDS, KEPT, LARGEST_BLOCK, memory_kept

Calls = list[tuple[int, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What glibc is asked for."""
    made: Calls = []

    def noted(*arguments: int) -> int:
        made.append(arguments)
        return 1

    for name in allocator.OF_THE_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator, "_glibc", lambda: (noted, noted))
    return made


def test_the_thresholds_are_set_for_the_block_alone(calls: Calls) -> None:
    with pytest.raises(ZeroDivisionError), memory_kept():
        assert calls == [(-3, LARGEST_BLOCK), (-1, KEPT)]
        raise ZeroDivisionError
    assert calls[2:] == [(-1, AFTERWARDS), (0,)]


@pytest.mark.parametrize("name", [*allocator.OF_THE_USER, "GLIBC_TUNABLES"])
def test_thresholds_of_the_environment_stay(calls: Calls, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "glibc.malloc.trim_threshold=131072" if name == "GLIBC_TUNABLES" else "131072")
    with memory_kept():
        pass
    assert calls == []


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator._glibc() == (None, None)
    with memory_kept():
        pass


FAULTS = """
import resource
import numpy as np
from char_rnn.utils.allocator import memory_kept

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [np.ones(3 << 20, np.uint8) for _ in range(20)]
    del buffers
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

[faults_of_a_step() for _ in range(3)]
print(min(faults_of_a_step() for _ in range(5)))
with memory_kept():
    [faults_of_a_step() for _ in range(3)]
    print(max(faults_of_a_step() for _ in range(5)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_buffers_of_a_step_are_not_fetched_anew_at_the_next() -> None:
    """Twenty buffers of 3 MB, 15,360 pages (30 huge ones); in a process of its own, whose heap nothing else shares."""
    environment = {name: value for name, value in os.environ.items() if name not in allocator.OF_THE_USER}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, env=environment, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back >= 25
    assert kept < 5
