"""Where a run ends, and the fitting of a schedule to minutes."""

from __future__ import annotations

import pytest

from char_rnn.training.learning_rate import SchedulePlan
from char_rnn.training.time_budget import PAUSE, TimeBudget, Timer
from char_rnn.utils.config import TrainingConfig


def test_a_run_shorter_than_its_warmup_still_ends() -> None:
    plan = SchedulePlan(TrainingConfig(max_steps=3, warmup_steps=100), steps_per_epoch=50)
    assert plan.total_steps == 3
    assert all(0 < plan.schedule.learning_rate(step) < 0.002 for step in range(3))


def test_limits_whichever_comes_first() -> None:
    assert SchedulePlan(TrainingConfig(max_epochs=3), 40).total_steps == 120
    assert SchedulePlan(TrainingConfig(max_epochs=3, max_steps=50), 40).total_steps == 50
    assert SchedulePlan(TrainingConfig(max_epochs=1, max_steps=50), 40).total_steps == 40


def test_a_run_of_minutes_fits_itself_to_the_speed_it_measures() -> None:
    plan = SchedulePlan(TrainingConfig(minutes=1.0, eval_interval=100, warmup_steps=10), steps_per_epoch=1000)
    step, elapsed, in_steps = 0, 0.0, 0.0
    rates = []
    while step < plan.total_steps:
        rates.append(plan.schedule.learning_rate(step))
        pace = 0.05 if elapsed < 20 else 0.1  # the machine becomes slower by half
        step, elapsed, in_steps = step + 1, elapsed + pace, in_steps + pace
        if step % 100 == 0:
            elapsed += 1.0
        if plan.budget.due(elapsed, step, plan.total_steps):
            plan.refit(step, elapsed, in_steps, 1.0)
    assert elapsed + 1.0 == pytest.approx(60, abs=1.5)
    horizons = plan.schedule.segments
    repeated = SchedulePlan(TrainingConfig(max_steps=plan.total_steps, horizons=horizons, warmup_steps=10), 1000)
    assert repeated.total_steps == plan.total_steps
    assert [repeated.schedule.learning_rate(s) for s in range(step)] == rates


def test_a_machine_that_becomes_faster_does_not_leave_the_budget_unused() -> None:
    plan = SchedulePlan(TrainingConfig(minutes=3.0), steps_per_epoch=10_000)
    step, elapsed = 0, 0.0
    while step < plan.total_steps:
        step, elapsed = step + 1, elapsed + (2.0 if elapsed < 40 else 0.05)
        if plan.budget.due(elapsed, step, plan.total_steps):
            plan.refit(step, elapsed, elapsed, 5.0)
    assert elapsed > 0.9 * 180
    assert len(plan.schedule.segments) < 25


def test_a_pause_of_the_machine_does_not_shorten_a_run() -> None:
    """A learning rate that has decayed for a run of a few hundred steps does not rise again."""
    plan, timer = SchedulePlan(TrainingConfig(minutes=3.0), steps_per_epoch=10_000), Timer(lambda: 0.0)
    step, elapsed, ends = 0, 0.0, []
    while step < plan.total_steps:
        seconds = 12.0 if step == 130 else 0.03
        step, elapsed = step + 1, elapsed + seconds
        timer.add_step(seconds)
        if plan.budget.due(elapsed, step, plan.total_steps):
            plan.refit(step, elapsed, timer.seconds_in_steps, 1.0)
            ends.append(plan.total_steps)
    assert min(ends) > 5000
    assert elapsed + 1.0 == pytest.approx(180, abs=1)


def test_steps_that_remain_slow_are_counted_after_a_few() -> None:
    timer = Timer(lambda: 0.0)
    for seconds in [0.1] * 20 + [0.2 * PAUSE] * 30:
        timer.add_step(seconds)
    assert timer.seconds_in_steps == pytest.approx(20 * 0.1 + 10 * 0.1 + 20 * 0.2 * PAUSE)


def test_the_step_total_of_a_timed_run_settles_when_two_fits_agree() -> None:
    assert SchedulePlan(TrainingConfig(max_epochs=3), 40).settled
    config = TrainingConfig(minutes=1.0, warmup_steps=0)
    plan = SchedulePlan(config, steps_per_epoch=1000)
    settled = []
    for step, elapsed in ((100, 10.0), (200, 15.0), (300, 20.5), (400, 25.8)):  # the first steps are the slowest
        plan.refit(step, elapsed, elapsed, 0.0)
        settled.append(plan.settled)
    assert settled == [False, False, False, True]
    again = SchedulePlan(config, 1000)
    assert not again.settled
    again.load_state_dict(plan.state_dict(), 400, 25.8)
    assert again.settled


@pytest.mark.parametrize("limit", [{"max_steps": 70}, {"max_epochs": 7}])
def test_minutes_do_not_lift_the_other_limits(limit: dict[str, int]) -> None:
    plan = SchedulePlan(TrainingConfig.model_validate({"minutes": 10.0, **limit}), steps_per_epoch=10)
    assert plan.total_steps == 70
    plan.refit(20, 12.0, 12.0, 0.0)
    assert plan.total_steps == 70


def test_a_budget_fits_once_for_each_of_its_moments() -> None:
    budget = TimeBudget(100.0, eval_interval=1000)
    assert not budget.due(1.9, 40, 5000)
    assert budget.due(2.0, 40, 5000)
    budget.fit(40, 2.0, 2.0, 0.0)
    assert not budget.due(2.1, 42, 5000)
    assert budget.fit(1000, 50.0, 50.0, 0.0) == 2000
    assert not budget.due(50.1, 1002, 2000)


def test_a_slow_beginning_does_not_end_the_learning() -> None:
    """The first step takes three seconds, as on a cold machine, and an evaluation is thought to take a minute."""
    plan = SchedulePlan(TrainingConfig(minutes=1.0, eval_interval=40, warmup_steps=0), steps_per_epoch=980)
    step, elapsed, rates = 0, 0.0, []
    while step < plan.total_steps:
        rates.append(plan.learning_rate(step))
        step, elapsed = step + 1, elapsed + (3.4 if step == 0 else 0.1)
        if plan.budget.due(elapsed, step, plan.total_steps):
            plan.refit(step, elapsed, elapsed, 61.7 / step)
    assert step > 300
    assert rates[step // 2] > 0.2 * rates[0]


def test_a_few_long_steps_are_fitted_when_half_of_the_time_has_gone() -> None:
    budget = TimeBudget(60.0, eval_interval=1000)
    assert not budget.due(29.0, 5, 1000)
    assert budget.due(30.0, 5, 1000)
    assert budget.fit(5, 30.0, 30.0, 3.0) == 9


@pytest.mark.parametrize(
    ("val", "test", "per_character", "part"),
    [
        (1_000_000, 0, 1e-5, 262_144),  # 20 of 100 seconds for 1 + 80 / 15 evaluations: 3.2 s each
        (1_000_000, 1_000_000, 1e-5, 262_144),
        (1_000_000, 20_000_000, 1e-5, 262_144),
        (1_000_000, 0, 1e-6, None),  # a second each: a hundredth of the time is nothing
        (300_000, 0, 1e-5, None),  # 19 seconds in all
        (600_000, 0, 1e-5, 262_144),
        (520_000, 0, 1e-5, None),  # 33 seconds in all, but the part is half of it already
        (1_000_000, 0, 1.0, 4096),
        (0, 0, 1e-5, None),
    ],
)
def test_evaluations_that_would_take_too_long_read_a_part(
    val: int, test: int, per_character: float, part: int | None
) -> None:
    assert TimeBudget(100.0, eval_interval=200).part(val, test, per_character, 2500) == part


def test_the_last_evaluations_are_kept_time_for() -> None:
    budget = TimeBudget(100.0, eval_interval=1000)
    assert budget.fit(100, 10.0, 10.0, 5.0, 15.0) == 100 + int(70 / (0.1 + 0.005))
    assert budget.passed(7.9) is False  # the moments at which to fit are shares of the 80 seconds for training
    assert not budget.passed(15.9)
    assert budget.passed(16.0)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_patience_and_plateaus_count_evaluations(schedule: str) -> None:
    config = TrainingConfig.model_validate(
        {"patience": 5, "schedule": schedule, "plateau_patience": 2, "plateau_factor": 0.1, "learning_rate": 1.0,
         "warmup_steps": 0, "min_learning_rate": 0.005}
    )  # fmt: skip
    plan = SchedulePlan(config, 10_000)
    outcomes = [True, False, False, False, True, False, False, False, False, False]
    for number, improved in enumerate(outcomes, 1):
        assert not plan.out_of_patience
        plan.evaluated(10 * number, improved=improved)
        plan.evaluated(10 * number, improved=False)  # a second look at the same step counts for nothing
        again = SchedulePlan(config, 10_000)
        again.load_state_dict(plan.state_dict(), 10 * number, 1.0)
        assert again.state_dict() == plan.state_dict()
        plan = again
    assert plan.out_of_patience
    if schedule == "plateau":
        assert [plan.learning_rate(step) for step in (29, 30, 69, 70, 89, 90)] == pytest.approx(
            [1.0, 0.1, 0.1, 0.01, 0.01, 0.005]
        )


def test_the_rate_is_halved_for_each_rollback() -> None:
    plan = SchedulePlan(TrainingConfig(warmup_steps=0), 100)
    before = plan.learning_rate(7)
    plan.halvings = 2
    assert plan.learning_rate(7) == before / 4
    again = SchedulePlan(TrainingConfig(warmup_steps=0), 100)
    again.load_state_dict(plan.state_dict(), 7, 1.0)
    assert again.learning_rate(7) == before / 4


def test_a_plan_goes_on_where_its_state_was_taken() -> None:
    config = TrainingConfig(minutes=1.0, eval_interval=100)
    plan = SchedulePlan(config, 1000)
    plan.refit(100, 10.0, 10.0, 0.5, 1.5)
    plan.eval_characters = 4096
    again = SchedulePlan(config, 1000)
    again.load_state_dict(plan.state_dict(), 100, 10.0)
    assert again.eval_characters == 4096
    assert again.total_steps == plan.total_steps
    assert again.schedule.segments == plan.schedule.segments
    assert again.budget == plan.budget


@pytest.mark.parametrize("minutes", [3.0, 60.0])
def test_another_budget_is_fitted_at_once(minutes: float) -> None:
    plan = SchedulePlan(TrainingConfig(minutes=1.0), 1000)
    plan.refit(100, 10.0, 10.0, 0.0)
    assert plan.total_steps == 600
    longer = SchedulePlan(TrainingConfig(minutes=minutes), 1000)
    longer.load_state_dict(plan.state_dict(), 100, 10.0)
    assert longer.budget.due(10.0, 100, longer.total_steps)
    longer.refit(100, 10.0, 10.0, 0.0)
    assert longer.total_steps == 600 * minutes
    assert not longer.budget.due(10.0, 100, longer.total_steps)


def test_a_schedule_at_its_end_cannot_go_on() -> None:
    plan = SchedulePlan(TrainingConfig(minutes=1.0), 1000)
    plan.refit(100, 10.0, 10.0, 0.0)
    longer = SchedulePlan(TrainingConfig(minutes=3.0), 1000)
    with pytest.raises(ValueError, match="--init-from"):
        longer.load_state_dict(plan.state_dict(), 600, 60.0)


def test_an_exponential_can_be_given_more_minutes_at_its_end() -> None:
    plan = SchedulePlan(TrainingConfig(minutes=1.0, schedule="exponential"), 1000)
    plan.refit(100, 10.0, 10.0, 0.0)
    longer = SchedulePlan(TrainingConfig(minutes=2.0, schedule="exponential"), 1000)
    longer.load_state_dict(plan.state_dict(), 600, 60.0)
    longer.refit(600, 60.0, 60.0, 0.0)
    assert longer.total_steps == 1200


def test_the_plan_takes_the_schedule_of_the_configuration() -> None:
    config = TrainingConfig(schedule="exponential", learning_rate=1.0, warmup_steps=0, learning_rate_decay=0.5,
                            learning_rate_decay_after=2, max_epochs=5)  # fmt: skip
    plan = SchedulePlan(config, steps_per_epoch=3)
    assert plan.total_steps == 15
    assert [plan.schedule.learning_rate(step) for step in range(0, 15, 3)] == [1.0, 1.0, 0.5, 0.25, 0.125]
