import pytest

from char_rnn.bench import timing
from char_rnn.bench.timing import Timing, in_turn, ratio, timed_each


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
