"""Turns, their ratios, and functions in a process of their own."""

import mmap
import sys

import pytest

from char_rnn.bench import timing
from char_rnn.bench.timing import ProcessError, Timing, in_own_process, in_turn, page_faults, peak_mb, ratio, timed_each


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing, "time", found)
    return found


def test_sides_take_turns_after_a_round_to_warm_up(clock: Clock) -> None:
    calls: list[str] = []

    def side(name: str, seconds: float) -> None:
        calls.append(name)
        clock.now += seconds * len(calls)

    timings = in_turn({"a": lambda: side("a", 1), "b": lambda: side("b", 2)}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert timings["a"].seconds == [3, 5]
    assert timings["b"].seconds == [8, 12]
    assert ratio(timings, "b", "a") == pytest.approx((8 / 3 + 12 / 5) / 2)


def test_each_is_the_time_of_one(clock: Clock) -> None:
    def slow(count: int) -> None:
        clock.now += 0.5 * count

    def fast(count: int) -> None:
        clock.now += 0.001 * count

    timings = timed_each({"slow": slow, "fast": fast}, rounds=3, seconds=0.3)
    assert timings["slow"].median == pytest.approx(0.5)
    assert timings["fast"].median == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("seconds", "spread"), [([2.0, 2.0, 2.0], 0.0), ([1.0, 2.0, 3.0], 0.5), ([1.0, 2.0, 3.0, 4.0, 100.0], 25.25 / 3)]
)
def test_the_spread_is_a_part_of_the_median(seconds: list[float], spread: float) -> None:
    assert Timing(seconds).spread == pytest.approx(spread)


def take(megabytes: int) -> list[float]:
    before = peak_mb()
    taken = bytes(bytearray(b"x") * (megabytes * 10**6))
    return [len(taken), before, peak_mb()]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("PYTHONPATH", str(request.path.parent))


def test_the_memory_is_that_of_the_process_alone() -> None:
    here = bytearray(b"x") * 300_000_000
    size, before, after = in_own_process("test_timing:take", megabytes=100)
    assert size == 100_000_000
    assert before < len(here) / 1e6
    assert 95 < after - before < 300


def test_what_fails_says_why() -> None:
    with pytest.raises(ProcessError, match="test_timing:take ended with exit status 1: TypeError"):
        in_own_process("test_timing:take")


def test_what_is_killed_says_so() -> None:
    with pytest.raises(ProcessError, match="signal"):
        in_own_process("os:abort")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_the_loops_are_measured_with_memory_kept_or_given_back(kept: bool) -> None:
    arguments = {"case": "tiny", "threads": [1], "rounds": 1, "kept": kept}
    (found,) = in_own_process("char_rnn.bench.training:speeds", **arguments)
    assert (found["trainer"], found["threads"]) == ("float32", 1)
    assert 0.02 < found["char-rnn"] / found["bare"] < 50
    assert found["peak"] > 50


@pytest.mark.skipif(sys.platform == "win32", reason="not counted there")
def test_pages_are_counted_as_they_are_touched() -> None:
    before = page_faults()
    with mmap.mmap(-1, 32 << 20) as touched:  # the allocator might hand out pages that were touched before
        for page in range(0, len(touched), mmap.PAGESIZE):
            touched[page] = 1
        assert page_faults() - before >= len(touched) >> 21  # of 2 MB, the largest
