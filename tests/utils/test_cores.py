"""Cores that a process may use: control groups are files of lines, given here as texts."""

from __future__ import annotations

import os

import pytest

from char_rnn.utils import cores

V1 = "12:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n"
QUOTA, PERIOD = "/sys/fs/cgroup/cpu{}/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu{}/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"/sys/fs/cgroup//cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "/sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "50000 100000", "/sys/fs/cgroup/a/cpu.max": "200000 100000"}, 0.5),
        (V1, {}, None),
        (V1, {QUOTA.format("/docker/ab"): "-1\n", PERIOD.format("/docker/ab"): "100000\n"}, None),
        (V1, {QUOTA.format("/docker/ab"): "300000\n", PERIOD.format("/docker/ab"): "100000\n"}, 3),
        (V1, {QUOTA.format("/"): "400000\n", PERIOD.format("/"): "100000\n"}, 4),  # all that a container sees
        ("3:cpuset:/\n", {QUOTA.format("/"): "400000\n", PERIOD.format("/"): "100000\n"}, None),
        ("no such line\n\n0::\n", {"/sys/fs/cgroup//cpu.max": "1 2 3"}, None),
        ("0::/\n", {"/sys/fs/cgroup//cpu.max": "100000 0"}, None),
    ],
)
def test_the_quota_of_control_groups(groups: str, files: dict[str, str], expected: float | None) -> None:
    assert cores.cpu_quota(groups, lambda path: files.get(path, "")) == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (2.0, 2), (2.9, 2), (0.5, 1), (64.0, 8)])
def test_the_least_of_all_counts(quota: float | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda *_: quota)
    assert cores.available_cores() == expected


def test_without_an_affinity_all_cores_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores, "_read", lambda _: "")
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert cores.available_cores() == expected
