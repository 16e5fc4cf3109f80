"""Cores that a process may use (control groups are files, given here as texts), and the memory that it keeps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from char_rnn.utils import resources
from char_rnn.utils.resources import AFTERWARDS, KEPT, LARGEST_BLOCK, memory_kept

Calls = list[tuple[int, ...]]
V1 = "12:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"
QUOTA, PERIOD = "/sys/fs/cgroup/cpu{}/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu{}/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 8),
        ("0::/\n", {}, 8),
        ("0::/\n", {"/sys/fs/cgroup//cpu.max": "290000 100000\n"}, 2),
        ("0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "/sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "50000 100000", "/sys/fs/cgroup/a/cpu.max": "200000 100000"}, 1),
        (V1, {}, 8),
        (V1, {QUOTA.format("/docker/ab"): "-1\n", PERIOD.format("/docker/ab"): "100000\n"}, 8),
        (V1, {QUOTA.format("/docker/ab"): "300000\n", PERIOD.format("/docker/ab"): "100000\n"}, 3),
        (V1, {QUOTA.format("/"): "400000\n", PERIOD.format("/"): "100000\n"}, 4),  # all that a container sees
        ("3:cpuset:/\n", {QUOTA.format("/"): "400000\n", PERIOD.format("/"): "100000\n"}, 8),
        ("no such line\n\n0::\n", {"/sys/fs/cgroup//cpu.max": "1 2 3"}, 8),
        ("0::/\n", {"/sys/fs/cgroup//cpu.max": "100000 0"}, 8),
        ("0::/\n", {"/sys/fs/cgroup//cpu.max": "6400000 100000\n"}, 8),
    ],
)
def test_the_least_of_affinity_and_quotas_counts(
    groups: str, files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(resources, "_read", lambda path: {"/proc/self/cgroup": groups, **files}.get(path, ""))
    assert resources.available_cores() == expected


def test_without_an_affinity_all_cores_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(resources, "_read", lambda _: "")
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert resources.available_cores() == expected


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What glibc is asked for."""
    made: Calls = []

    def noted(*arguments: int) -> int:
        made.append(arguments)
        return 1

    for name in resources.USER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(resources, "_glibc", lambda: (noted, noted))
    return made


def test_the_thresholds_are_set_for_the_block_alone(calls: Calls) -> None:
    with pytest.raises(ZeroDivisionError), memory_kept():
        assert calls == [(-3, LARGEST_BLOCK), (-1, KEPT)]
        raise ZeroDivisionError
    assert calls[2:] == [(-1, AFTERWARDS), (0,)]


@pytest.mark.parametrize("name", [*resources.USER_SETTINGS, "GLIBC_TUNABLES"])
def test_thresholds_of_the_environment_stay(calls: Calls, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "glibc.malloc.trim_threshold=131072" if name == "GLIBC_TUNABLES" else "131072")
    with memory_kept():
        pass
    assert calls == []


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.sys, "platform", "darwin")
    assert resources._glibc() == (None, None)
    with memory_kept():
        pass


FAULTS = """
import resource
import numpy as np
from char_rnn.utils.resources import memory_kept

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
    environment = {name: value for name, value in os.environ.items() if name not in resources.USER_SETTINGS}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, env=environment, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back >= 25
    assert kept < 5
