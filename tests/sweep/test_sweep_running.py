"""A sweep trains every combination of a grid, each as on its own, and goes on where it was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_helpers import StopAt, rose_config

from char_rnn.model_file import ModelFile
from char_rnn.runs.listing import find_runs
from char_rnn.sweep.grid import points
from char_rnn.sweep.running import Job, SweepResult, SweepRun, SweepSetting, sweep, train_job
from char_rnn.training import TrainingResult
from char_rnn.training.run import RunContext, resume_run, start_run
from char_rnn.utils.config import Config, ConfigError, load_config

GRID = {"training.learning_rate": [0.01, 0.02], "training.seed": [1, 2]}
NAMES = [f"learning_rate={rate},seed={seed}" for rate in (0.01, 0.02) for seed in (1, 2)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return rose_config(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """A sweep that nothing has disturbed; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return sweep(rose_config(folder), GRID, folder / "sweep")


def parameters(run: Path) -> dict[str, bytes]:
    """The last model of a run, to the bit."""
    return {name: array.tobytes() for name, array in ModelFile.read(run / "last.safetensors").tensors.items()}


def table(result: SweepResult) -> list[tuple[object, ...]]:
    """All that is the same each time of the runs, in their order."""
    found = []
    for run in result.runs:
        assert run.summary is not None
        summary = run.summary
        found.append((run.name, run.failure, summary.state, summary.parameters, summary.steps, summary.best_loss))
    return found


def no_training(job: Job) -> TrainingResult:
    raise AssertionError(job.name)


def test_every_combination_has_a_run_with_its_values(whole: SweepResult) -> None:
    assert sorted(run.name for run in whole.runs) == NAMES
    assert [folder.name for folder in find_runs([whole.folder])] == NAMES
    for run in whole.runs:
        training = load_config(whole.folder / run.name / "config.yaml").training
        assert run.values == {"training.learning_rate": training.learning_rate, "training.seed": training.seed}
        assert run.finished
    losses = [run.best_loss for run in whole.runs]
    assert len(set(losses)) == 4
    assert losses == sorted(losses)  # type: ignore[type-var]


def test_a_run_of_a_sweep_is_the_run_it_is_alone(config: Config, tmp_path: Path, whole: SweepResult) -> None:
    """What was trained before it in the same process does not matter."""
    alone = points(config, GRID)[-1].config
    start_run(alone, tmp_path / "alone").train()
    assert parameters(tmp_path / "alone") == parameters(whole.folder / NAMES[-1])


def test_cut_off_half_way_through_its_second_run_it_ends_the_same(
    config: Config, tmp_path: Path, whole: SweepResult
) -> None:
    trained: list[tuple[str, bool]] = []

    def until_the_second(job: Job) -> TrainingResult:
        assert not job.resumed
        callbacks = [StopAt(5)] if job.number == 2 else []
        return start_run(job.config, job.folder, context=RunContext(callbacks=callbacks)).train()

    def noted(job: Job) -> TrainingResult:
        trained.append((job.name, job.resumed))
        return train_job(job)

    cut = sweep(config, GRID, tmp_path / "parts", train=until_the_second)
    assert cut.stopped
    assert [run.summary is None for run in cut.runs] == [False, False, True, True]
    assert [run.finished for run in cut.runs] == [True, False, False, False]
    again = sweep(config, GRID, tmp_path / "parts", train=noted)
    assert trained == [(NAMES[1], True), (NAMES[2], False), (NAMES[3], False)]
    assert not again.stopped
    assert table(again) == table(whole)
    for name in NAMES:
        assert parameters(tmp_path / "parts" / name) == parameters(whole.folder / name)
    assert table(sweep(config, GRID, tmp_path / "parts", train=no_training)) == table(whole)


def test_it_ends_between_two_runs_when_asked_to(config: Config, tmp_path: Path) -> None:
    answers = iter([False, True])
    result = sweep(config, GRID, tmp_path / "sweep", stop=lambda: next(answers))
    assert result.stopped
    assert [run.finished for run in result.runs] == [True, False, False, False]


def test_a_run_that_has_only_begun_starts_again(config: Config, tmp_path: Path) -> None:
    grid = {"training.seed": [1]}
    sweep(config, grid, tmp_path / "sweep", stop=lambda: True)
    start_run(points(config, grid)[0].config, tmp_path / "sweep" / "seed=1")
    (tmp_path / "sweep" / "seed=1" / "training_state.safetensors").unlink()
    assert sweep(config, grid, tmp_path / "sweep").runs[0].finished


def test_a_run_out_of_patience_is_finished(config: Config, tmp_path: Path) -> None:
    config.training.max_steps, config.training.patience = 400, 1
    config.training.max_epochs = 100
    grid = {"training.learning_rate": [1e-12, 2e-12], "training.warmup_steps": [0]}
    first = sweep(config, grid, tmp_path / "sweep")
    assert all(run.summary and run.summary.steps < 400 for run in first.runs)
    assert table(sweep(config, grid, tmp_path / "sweep", train=no_training)) == table(first)


def test_a_run_that_fails_or_diverges_is_told_and_the_others_are_trained(config: Config, tmp_path: Path) -> None:
    config.training.grad_clip, config.training.warmup_steps = 0.0, 0
    grid = {"training.learning_rate": [1e9, 0.01], "training.batch_size": [4, 4000]}
    result = sweep(config, grid, tmp_path / "sweep")
    found = {run.name: run for run in result.runs}
    assert [run.failure for run in result.runs] == [None, "diverged", "failed", "failed"]
    assert found["learning_rate=0.01,batch_size=4"].finished
    diverged, failed = found["learning_rate=1000000000.0,batch_size=4"], found["learning_rate=0.01,batch_size=4000"]
    assert diverged.failure == "diverged"
    assert "training.learning_rate" in (diverged.problem or "")
    assert (failed.failure, failed.summary) == ("failed", None)
    assert "one batch needs" in (failed.problem or "")


def test_a_run_that_failed_is_tried_again(config: Config, tmp_path: Path) -> None:
    def full_disk(job: Job) -> TrainingResult:
        if job.number == 2:
            start_run(job.config, job.folder, context=RunContext(callbacks=[StopAt(5)])).train()
            raise OSError(28, "No space left on device")
        return train_job(job)

    grid = {"training.seed": [1, 2, 3]}
    first = sweep(config, grid, tmp_path / "sweep", train=full_disk)
    assert [run.problem for run in first.runs if run.failure] == ["[Errno 28] No space left on device"]
    assert not first.runs[-1].finished
    again = sweep(config, grid, tmp_path / "sweep")
    assert all(run.finished for run in again.runs)


def test_a_mistake_of_the_programs_own_is_not_hidden(config: Config, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=NAMES[0]):
        sweep(config, GRID, tmp_path / "sweep", train=no_training)


def test_another_device_is_the_same_sweep_and_a_run_goes_on_there(config: Config, tmp_path: Path) -> None:
    grid = {"training.seed": [1]}

    def half(job: Job) -> TrainingResult:
        return start_run(job.config, job.folder, context=RunContext(callbacks=[StopAt(5)])).train()

    sweep(config, grid, tmp_path / "sweep", train=half)
    config.device.preferred = "cpu"
    seen: list[str] = []

    def noted(job: Job) -> TrainingResult:
        seen.append(job.config.device.preferred)
        return resume_run(job.config, job.folder).train()

    assert sweep(config, grid, tmp_path / "sweep", train=noted).runs[0].finished
    assert seen == ["cpu"]


def test_nothing_is_made_of_a_grid_with_a_bad_value(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a number more than 0"):
        sweep(config, {"training.learning_rate": [0.1, 0]}, tmp_path / "sweep", train=no_training)
    assert not (tmp_path / "sweep").exists()


def test_the_text_of_every_run_must_be_there(config: Config, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"thorn\.txt"):
        sweep(config, {"data.data_dir": [config.data.data_dir, "thorn.txt"]}, tmp_path / "sweep", train=no_training)
    with pytest.raises(ValueError, match="reads its text for every run"):
        sweep(config, {"data.data_dir": ["-"]}, tmp_path / "sweep", train=no_training)
    assert not (tmp_path / "sweep").exists()


def test_mean_and_deviation_over_the_seeds(whole: SweepResult) -> None:
    losses = {run.name: run.best_loss or 0.0 for run in whole.runs}
    settings = {setting.values["training.learning_rate"]: setting for setting in whole.settings()}
    for rate, setting in settings.items():
        a, b = (losses[f"learning_rate={rate},seed={seed}"] for seed in (1, 2))
        assert setting.values == {"training.learning_rate": rate}
        assert setting.mean == pytest.approx((a + b) / 2, rel=1e-15)
        assert setting.deviation == pytest.approx(abs(a - b) / 2**0.5, rel=1e-12)
    means = [setting.mean for setting in whole.settings()]
    assert means == sorted(means)  # type: ignore[type-var]


def test_a_run_that_failed_is_in_no_mean(config: Config, tmp_path: Path) -> None:
    def fail_second(job: Job) -> TrainingResult:
        if job.number > 1:
            raise RuntimeError
        return train_job(job)

    result = sweep(config, {"training.seed": [1, 2]}, tmp_path / "sweep", train=fail_second)
    [setting] = result.settings()
    assert setting.losses == [result.runs[0].best_loss]
    assert (setting.mean, setting.deviation) == (result.runs[0].best_loss, None)
    assert result.runs[1].problem == "RuntimeError"


def test_without_seeds_there_are_no_settings() -> None:
    runs = [SweepRun("max_steps=1", {"training.max_steps": 1}, None)]
    assert SweepResult(Path(), {"training.max_steps": [1]}, runs, stopped=False).settings() == []
    assert SweepSetting({}, []).mean is None
