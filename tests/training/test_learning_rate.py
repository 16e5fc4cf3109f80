"""Learning rates by the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.training.learning_rate import Schedule, SchedulePlan, progress, segment
from char_rnn.utils.config import TrainingConfig


def schedule_of(kind: str, peak: float, minimum: float, warmup: int, end: int, **settings: Any) -> Schedule:
    settings |= {"learning_rate": peak, "min_learning_rate": minimum, "warmup_steps": warmup}
    return Schedule(TrainingConfig.model_validate({"schedule": kind, **settings}), 10, end)


def test_warmup_then_cosine_gives_the_textbook_numbers() -> None:
    schedule = schedule_of("cosine", 1.0, 0.1, 4, 104)
    assert [schedule.learning_rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule.learning_rate(54) == pytest.approx(0.55)
    assert schedule.learning_rate(29) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.learning_rate(104) == pytest.approx(0.1)


def test_without_warmup_the_first_step_has_the_peak() -> None:
    assert schedule_of("cosine", 0.5, 0.0, 0, 10).learning_rate(0) == 0.5


@given(st.integers(1, 10_000), st.integers(0, 500))
def test_progress_never_goes_back(end: int, warmup: int) -> None:
    segments = [segment(0, end, warmup)]
    values = [progress(segments, step) for step in range(0, end + 1, max(1, end // 50))]
    assert values == sorted(values)
    assert progress(segments, end) == 1.0


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 3000)), max_size=8), st.integers(0, 300))
def test_a_refit_changes_nothing_behind_it(refits: list[tuple[int, int]], warmup: int) -> None:
    """Whatever is fitted, and when: the rates of the steps already made stay the same to the last bit."""
    schedule = schedule_of("cosine", 1.0, 0.1, warmup, 5000)
    made: list[float] = []
    for ahead, left in refits:
        made += [schedule.learning_rate(step) for step in range(len(made), len(made) + ahead)]
        schedule.refit(len(made), len(made) + left)
        assert [schedule.learning_rate(step) for step in range(len(made))] == made
    rates = [schedule.learning_rate(step) for step in range(schedule.end)]
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_a_refit_bends_the_future() -> None:
    schedule = schedule_of("cosine", 1.0, 0.0, 10, 110)
    schedule.refit(60, 85)
    assert progress(schedule.segments, 60) == 0.5
    assert progress(schedule.segments, 72) == pytest.approx(0.5 + 0.5 * 12 / 25)
    assert progress(schedule.segments, 85) == pytest.approx(1.0)
    assert schedule.end == 85


def test_the_line_goes_straight_to_the_floor() -> None:
    schedule = schedule_of("linear", 1.0, 0.2, 4, 104)
    assert [schedule.learning_rate(step) for step in (0, 3, 29, 54, 104)] == pytest.approx([0.25, 1.0, 0.8, 0.6, 0.2])


def test_the_constant_stays() -> None:
    schedule = schedule_of("constant", 0.3, 0.0, 2, 10)
    assert [schedule.learning_rate(step) for step in (0, 1, 5, 9)] == [0.15, 0.3, 0.3, 0.3]


def test_one_cycle_is_pytorchs() -> None:
    """Against ``OneCycleLR`` with the same peak, rise and beginning, over 101 steps."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=101, cycle_momentum=False, final_div_factor=1e9
    )
    schedule = schedule_of("one-cycle", 0.1, 0.1 / 25 / 1e9, 0, 100)
    for step in range(101):
        # PyTorch's rise ends at 0.3 x 101 - 1 = 29.3 of the 100 steps between the first and the last, ours at 30
        if step < 29:
            expected = 0.1 * (1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / 30)) / 2)
            assert schedule.learning_rate(step) == pytest.approx(expected)
        elif step > 30:
            assert schedule.learning_rate(step) == pytest.approx(reference.get_last_lr()[0], rel=0.03, abs=1e-5)
        optimizer.step()
        if step < 100:
            reference.step()
    assert schedule.learning_rate(30) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "one-cycle", "constant", "plateau", "exponential"])
def test_every_schedule_warms_up_and_keeps_to_its_floor(schedule: str) -> None:
    config = TrainingConfig.model_validate(
        {"schedule": schedule, "warmup_steps": 10, "learning_rate": 1.0, "min_learning_rate": 0.01, "max_steps": 100}
    )
    rates = [SchedulePlan(config, 1000).learning_rate(step) for step in range(100)]
    assert rates[0] <= 0.1
    assert max(rates) == pytest.approx(1.0, rel=1e-3)
    assert min(rates[10:]) >= 0.01
    assert rates[:10] == pytest.approx([(step + 1) / 10 * rates[10] for step in range(10)], rel=0.01)


def exponential(
    peak: float = 0.002, floor: float = 0.0, warmup_steps: int = 0, decay: float = 0.97, decay_after: int = 3
) -> Schedule:
    settings = {"learning_rate_decay": decay, "learning_rate_decay_after": decay_after}
    return schedule_of("exponential", peak, floor, warmup_steps, 100, **settings)


@pytest.mark.parametrize("decay_after", [0, 1, 3])
def test_the_exponential_is_the_loop_of_2015(decay_after: int) -> None:
    """After each full epoch, once so many are done: rate times decay, rounded each time."""
    schedule, rate = exponential(decay_after=decay_after), 0.002
    for step in range(100):
        assert schedule.learning_rate(step) == rate
        if (step + 1) % 10 == 0 and (step + 1) // 10 >= decay_after:
            rate *= 0.97


def test_the_exponential_warms_up_and_keeps_to_its_floor() -> None:
    schedule = exponential(peak=1.0, floor=0.3, warmup_steps=4, decay=0.5, decay_after=1)
    assert [schedule.learning_rate(step) for step in (0, 1, 3, 9, 10, 20, 30)] == [0.25, 0.5, 1.0, 1.0, 0.5, 0.3, 0.3]


def test_the_horizon_of_an_exponential_is_its_end_alone() -> None:
    schedule = exponential()
    before = [schedule.learning_rate(step) for step in range(200)]
    schedule.refit(60, 85)
    assert schedule.end == 85
    assert [schedule.learning_rate(step) for step in range(200)] == before
