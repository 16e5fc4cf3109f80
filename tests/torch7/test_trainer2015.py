"""Runs by the exact recipe: resumed, stopped, begun from another model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from char_rnn import Config, ModelFile
from char_rnn.torch7 import layout
from char_rnn.torch7.random import Generator
from char_rnn.torch7.trainer import Torch7Backend, Torch7Trainer
from char_rnn.training import Callback, CharRNNTrainer
from char_rnn.training.checkpoints import TrainingState, write_state
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.run import Run, RunContext, resume_run, start_run
from char_rnn.utils.config import compose_config, load_config

TEXT = b"the quick brown fox jumps over the lazy dog, twice; " * 40
SMALL = (
    "model.hidden_size=6",
    "training.batch_size=4",
    "training.seq_length=10",
    "training.max_epochs=2",
    "training.eval_interval=20",
    "logging.savefile=fox",
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "input.txt").write_bytes(TEXT)
    return compose_config("torch7", overrides=[*SMALL, f"data.data_dir={tmp_path}"])


def begin(config: Config, folder: Path, *overrides: str, **options: object) -> Run:
    return start_run(with_(config, *overrides), folder, backend=Torch7Backend(), **options)


def with_(config: Config, *overrides: str) -> Config:
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    for override in overrides:
        key, value = override.split("=")
        section, name = key.split(".")
        number = float(value) if "." in value else int(value) if value.isdigit() else value
        sections[section] = sections[section].model_copy(update={name: number})
    return config.model_copy(update=sections)


def parameters(trainer: CharRNNTrainer) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach().clone()


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What was measured, but for the time it took."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(record.get("characters_per_second", 1) > 0 for record in records)
    return [{k: v for k, v in record.items() if "second" not in k and "memory" not in k} for record in records]


class StopAt(Callback):
    """Asks the trainer to stop after a step, and keeps the parameters of the last and the checkpoints' names."""

    def __init__(self, step: int = 0) -> None:
        self.step, self.last = step, torch.empty(0)
        self.written: list[str] = []

    def on_checkpoint(self, path: Path) -> None:
        """Keep the name."""
        self.written.append(path.name)

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Look at the step."""
        self.last = parameters(trainer)
        if trainer.step == self.step:
            trainer.request_stop()


STOPS = (1, 20, 49, 57)
"""20 is right after a validation, 49 the end of an epoch."""


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_run_resumed_many_times_ends_with_the_same_bits(config: Config, tmp_path: Path, cell: str) -> None:
    overrides = (f"model.type={cell}", "model.dropout=0.25")
    whole = StopAt()
    begin(config, tmp_path / "whole", *overrides, context=RunContext(callbacks=[whole])).train()

    folder = tmp_path / "parts"
    stops = STOPS if cell == "lstm" else STOPS[1:3]
    parts = [StopAt(stop) for stop in (*stops, 0)]
    assert begin(config, folder, *overrides, context=RunContext(callbacks=parts[:1])).train().stopped
    for stopped_at, part in zip(stops, parts[1:], strict=True):
        context = RunContext(callbacks=[part])
        resumed = resume_run(load_config(folder / "config.yaml"), folder, context=context, backend=Torch7Backend())
        assert resumed.trainer.step == stopped_at
        resumed.train()
    assert torch.equal(parts[-1].last, whole.last)
    assert metrics(folder) == metrics(tmp_path / "whole")
    names = {path.name for path in folder.glob("lm_*")}
    assert names == {path.name for path in (tmp_path / "whole").glob("lm_*")}
    assert len(names) == 5
    assert [name for part in parts for name in part.written] == whole.written


def test_killed_after_a_state_a_run_has_lost_no_checkpoint(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, state: TrainingState) -> None:
        write_state(path, state)
        if state.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr("char_rnn.training.checkpoints.write_state", killed)
        begin(config, tmp_path / "run").train()
    assert len(list((tmp_path / "run").glob("lm_*"))) == 1
    resume_run(load_config(tmp_path / "run" / "config.yaml"), tmp_path / "run", backend=Torch7Backend()).train()
    assert len(list((tmp_path / "run").glob("lm_*"))) == 5


def test_the_first_loss_is_known_to_a_run_that_goes_on_from_the_first_step(config: Config, tmp_path: Path) -> None:
    run = begin(config, tmp_path, "training.eval_interval=1", context=RunContext(callbacks=[StopAt(1)]))
    assert run.train().stopped
    resumed = resume_run(load_config(tmp_path / "config.yaml"), tmp_path, backend=Torch7Backend())
    assert resumed.trainer.stepper.guard.first == run.trainer.stepper.guard.first is not None


def test_a_run_folder_has_its_models_and_2015s_checkpoints(config: Config, tmp_path: Path) -> None:
    result = begin(config, tmp_path / "run").train()
    best = ModelFile.read(tmp_path / "run" / "best.safetensors")
    assert best.training["best_val_loss"] == result.best_val_loss
    assert {str(array.dtype) for array in best.tensors.values()} == {"float64"}
    assert result.val is not None
    assert (tmp_path / "run" / f"lm_fox_epoch2.00_{result.val.loss:.4f}.safetensors").is_file()


def test_without_a_folder_of_its_own_a_run_leaves_its_checkpoints_where_they_were(
    config: Config, tmp_path: Path
) -> None:
    run = begin(config, None, f"logging.checkpoint_dir={tmp_path / 'cv'}")  # type: ignore[arg-type]
    run.train()
    assert run.folder.parent == tmp_path / "cv"
    assert len(list((tmp_path / "cv").glob("lm_fox_epoch*.safetensors"))) == 5
    assert (run.folder / "best.safetensors").is_file()


def test_a_run_from_another_model_draws_nothing_and_forgets_its_forget_biases(config: Config, tmp_path: Path) -> None:
    begin(config, tmp_path / "first", "training.max_steps=3").train()
    origin = ModelFile.read(tmp_path / "first")
    trainer = begin(config, tmp_path / "second", init_from=origin).trainer
    assert isinstance(trainer, Torch7Trainer)
    np.testing.assert_array_equal(trainer.rng.words(2), Generator(123).words(2))
    for name, value in trainer.model.state_dict().items():
        expected = origin.tensors[name].copy()
        if "bias_ih" in name:
            assert not (expected[6:12] == 1).any()
            expected[6:12] = 1
        np.testing.assert_array_equal(value.numpy(), expected)


def test_the_generator_gives_a_new_model_its_parameters_after_as_many_draws(config: Config, tmp_path: Path) -> None:
    trainer = begin(config, tmp_path / "run", "model.type=gru").trainer
    vocabulary = trainer.model.vocab_size
    count = sum(linear.size for linear in layout.linears("gru", vocabulary, 6, 2))
    words = Generator(123).words(2 * count + 1)
    assert trainer.rng.words(1) == words[-1]
    flat = words[count:-1] * 2.0**-32 * 0.16 - 0.08
    expected = layout.to_tensors("gru", vocabulary, 6, 2, flat)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected[name])


def test_an_evaluation_reports_its_progress_in_characters(config: Config, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    class Watches(Callback):
        def on_evaluating(self, split: str, done: int, total: int) -> None:
            told.append((split, done, total))

    trainer = begin(config, tmp_path / "run", context=RunContext(callbacks=[Watches()])).trainer
    trainer.evaluate("val")
    batches = len(trainer.dataloaders["val"])
    assert batches > 1
    assert told == [("val", 40 * done, 40 * batches) for done in range(batches + 1)]


def test_a_loss_three_times_the_first_ends_the_run_after_its_checkpoint(config: Config, tmp_path: Path) -> None:
    run = begin(config, tmp_path / "run", "training.learning_rate=50.0", "training.eval_interval=1")
    with pytest.raises(TrainingDiverged, match=r"more than 3 times the first"):
        run.train()
    assert len(list((tmp_path / "run").glob("lm_fox_*"))) == run.trainer.step


def test_without_validation_batches_the_loss_in_the_name_is_not_a_number(config: Config, tmp_path: Path) -> None:
    watcher, fractions = StopAt(), ("data.train_frac=0.9", "data.val_frac=0.01")
    result = begin(config, tmp_path / "run", *fractions, context=RunContext(callbacks=[watcher])).train()
    assert result.val is None
    assert len(set(watcher.written)) == len(watcher.written)
    assert [path.name for path in (tmp_path / "run").glob("lm_*2.00*")] == ["lm_fox_epoch2.00_nan.safetensors"]


def test_the_rate_falls_at_the_end_of_an_epoch(config: Config, tmp_path: Path) -> None:
    trainer = begin(config, tmp_path / "run", "training.learning_rate_decay_after=1").trainer
    length = len(trainer.train_batches)
    rates = [trainer.plan.learning_rate(step) for step in (0, length - 1, length, 2 * length - 1, 2 * length)]
    assert rates == [0.002, 0.002, 0.002 * 0.97, 0.002 * 0.97, 0.002 * 0.97 * 0.97]


def test_single_precision_learns_the_same(config: Config, tmp_path: Path) -> None:
    losses = {}
    for precision in ("float64", "float32"):
        result = begin(config, tmp_path / precision, f"training.precision={precision}").train()
        assert result.val is not None
        losses[precision] = result.val.loss
    assert math.isclose(losses["float32"], losses["float64"], rel_tol=1e-3)
    assert losses["float32"] < 3.2  # of ln 29 = 3.37 at the start
