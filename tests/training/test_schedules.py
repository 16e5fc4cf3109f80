"""Learning rates by the step, and the fitting of a schedule to minutes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.training.schedules import Plan, TimeBudget, WarmupCosine, interpolate, straight_knots
from char_rnn.utils.config import TrainingConfig


def test_warmup_then_cosine_gives_the_textbook_numbers() -> None:
    schedule = WarmupCosine(peak=1.0, floor=0.1, warmup_steps=4, knots=straight_knots(104, 4))
    assert [schedule.learning_rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule.learning_rate(54) == pytest.approx(0.55)
    assert schedule.learning_rate(29) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.learning_rate(104) == pytest.approx(0.1)


def test_without_warmup_the_first_step_has_the_peak() -> None:
    assert WarmupCosine(0.5, 0.0, 0, straight_knots(10, 0)).learning_rate(0) == 0.5


def test_a_run_shorter_than_its_warmup_still_ends() -> None:
    plan = Plan(TrainingConfig(max_steps=3, warmup_steps=100), steps_per_epoch=50)
    assert plan.total_steps == 3
    assert all(0 < plan.schedule.learning_rate(step) < 0.002 for step in range(3))


@given(st.integers(1, 10_000), st.integers(0, 500))
def test_progress_never_goes_back(total: int, warmup: int) -> None:
    knots = straight_knots(total, warmup)
    values = [interpolate(knots, step) for step in range(0, total + 1, max(1, total // 50))]
    assert values == sorted(values)
    assert interpolate(knots, total) == 1.0


def test_a_refit_keeps_the_past_and_bends_the_future() -> None:
    schedule = WarmupCosine(1.0, 0.0, 10, straight_knots(110, 10))
    past = [schedule.progress(step) for step in range(61)]
    schedule.refit(60, 85)
    assert [schedule.progress(step) for step in range(61)] == past
    assert schedule.progress(85) == 1.0
    assert schedule.progress(72) == pytest.approx(0.5 + 0.5 * 12 / 25)
    assert schedule.total_steps == 85


def test_limits_whichever_comes_first() -> None:
    assert Plan(TrainingConfig(max_epochs=3), 40).total_steps == 120
    assert Plan(TrainingConfig(max_epochs=3, max_steps=50), 40).total_steps == 50
    assert Plan(TrainingConfig(max_epochs=1, max_steps=50), 40).total_steps == 40


def test_a_run_of_minutes_fits_itself_to_the_speed_it_measures() -> None:
    plan = Plan(TrainingConfig(minutes=1.0, eval_interval=100, warmup_steps=10), steps_per_epoch=1000)
    assert plan.total_steps is None
    step, elapsed, in_steps = 0, 0.0, 0.0
    while plan.total_steps is None or step < plan.total_steps:
        pace = 0.05 if elapsed < 20 else 0.1  # the machine becomes slower by half
        step, elapsed, in_steps = step + 1, elapsed + pace, in_steps + pace
        if step % 100 == 0:
            elapsed += 1.0
        if plan.refit_due(elapsed):
            plan.refit(step, elapsed, in_steps, 1.0)
    assert elapsed + 1.0 == pytest.approx(60, abs=1.5)
    repeated = Plan(
        TrainingConfig(max_steps=plan.total_steps, schedule_knots=plan.schedule.knots, warmup_steps=10), 1000
    )
    assert repeated.total_steps == plan.total_steps
    rates = [plan.schedule.learning_rate(s) for s in range(step)]
    assert [repeated.schedule.learning_rate(s) for s in range(step)] == rates


def test_a_budget_fits_once_for_each_of_its_moments() -> None:
    budget = TimeBudget(100.0, eval_interval=1000)
    assert not budget.due(1.9)
    assert budget.due(2.0)
    budget.fit(40, 2.0, 2.0, 0.0)
    assert not budget.due(2.1)
    assert budget.fit(1000, 50.0, 50.0, 0.0) == 2000
    assert not budget.due(50.1)


def test_a_plan_goes_on_where_its_state_was_taken() -> None:
    config = TrainingConfig(minutes=1.0, eval_interval=100)
    plan = Plan(config, 1000)
    plan.refit(100, 10.0, 10.0, 0.5)
    again = Plan(config, 1000)
    again.load_state(plan.state())
    assert again.total_steps == plan.total_steps
    assert again.schedule.knots == plan.schedule.knots
    assert again.budget == plan.budget
