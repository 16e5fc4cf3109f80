"""The training state: a resumed run equals an uninterrupted one; a state that does not fit is refused."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import AS_IN_2015, EVERY_PART, REGULARIZED, StopAt, small_config, timeless

from char_rnn.model_file import ModelFile
from char_rnn.training import Callback, CharRNNTrainer, CheckpointError, teachers
from char_rnn.training.callbacks import MetricsWriter
from char_rnn.training.checkpoints import TrainingState, read_state
from char_rnn.training.training_state import EARLIER

MakeTrainer = Callable[..., CharRNNTrainer]


STOPS = (1, 13, 19, 20, 25, 38, 40, 50)
"""Before, at and after evaluations (every 25 steps), saved states and ends of epochs (every 20)."""
FEWER = (13, 20, 25)
"""For runs that differ from `streams` in their model or loss alone."""


RUNS: dict[str, dict[str, dict[str, Any]]] = {
    "streams": {},
    "windows": {"data": {"batching": "windows"}},
    "2015": {"training": AS_IN_2015},
    "taught": {"training": {"teacher": ["lstm", "gru"], "teacher_temperature": 2.0}},
    "taught without memory": {"training": {"teacher": "gru"}},
    "taught windows": {"training": {"teacher": "rnn"}, "data": {"batching": "windows"}},
    "regularized": {"training": {**REGULARIZED, "averaging": "ema", "averaging_decay": 0.9, "averaging_start": 15}},
    "lstm parts": {"model": {**EVERY_PART, "layer_norm": "cell", "mogrifier_rounds": 3}},
    "gru parts": {"model": {**EVERY_PART, "layer_norm": "between", "type": "gru"}},
    "mingru parts": {"model": {**EVERY_PART, "layer_norm": "between", "type": "mingru"}},
    "minlstm parts": {"model": {**EVERY_PART, "layer_norm": "cell", "type": "minlstm"}},
    "rnn parts": {"model": {**EVERY_PART, "layer_norm": "cell", "type": "rnn"}, "data": {"batching": "windows"}},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_and_resumed_many_times_ends_with_the_same_bits(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Dropout masks, optimizer, position, carried state: the final parameters are bit-identical."""
    training = {"max_epochs": 10, "max_steps": 60, "eval_interval": 25, **RUNS[name].get("training", {})}
    config = small_config(**{**RUNS[name], "training": training})
    monkeypatch.setattr(teachers, "MEMORY", 0 if "without memory" in name else teachers.MEMORY)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    make_trainer(config, run_dir=whole).train()

    stops = STOPS if name in ("streams", "windows", "2015") else FEWER
    assert make_trainer(config, run_dir=parts, callbacks=[StopAt(stops[0])]).train().stopped
    for stopped_at, stop_at in zip(stops, (*stops[1:], 60), strict=True):
        trainer = make_trainer(config, run_dir=parts, callbacks=[StopAt(stop_at)])
        torch.manual_seed(999)
        trainer.load_state_dict(read_state(parts))
        assert trainer.step == stopped_at
        trainer.train()

    for key, tensor in ModelFile.read(whole / "last.safetensors").tensors.items():
        assert (ModelFile.read(parts / "last.safetensors").tensors[key] == tensor).all(), key
    assert timeless(whole) == timeless(parts)


def test_records_after_the_checkpoint_are_recorded_again(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"max_steps": 45, "max_epochs": 10})

    class Crash(Callback):
        def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
            if trainer.step == 37:
                raise OSError("the power went")

    with pytest.raises(OSError, match="the power went"):
        make_trainer(config, run_dir=tmp_path, callbacks=[Crash()]).train()
    assert MetricsWriter(tmp_path / "metrics.jsonl").read()[-1]["step"] == 35
    again = make_trainer(config, run_dir=tmp_path)
    again.load_state_dict(read_state(tmp_path))
    assert again.step == 20
    again.train()
    steps = [r["step"] for r in MetricsWriter(tmp_path / "metrics.jsonl").read() if r["split"] == "train"]
    assert steps == [7, 14, 21, 28, 35, 42, 45]


def early(counters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counters as written before they recorded the settings that tensors depend on."""
    settings = {k: v for k, v in counters["reading"].items() if k not in EARLIER and not k.startswith("model.")}
    return {**counters, "reading": settings}


def test_a_state_of_another_text_or_model_is_refused(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(small_config(training={"max_steps": 3}), run_dir=tmp_path)
    trainer.train()
    tensors, counters = trainer.state_dict()
    with pytest.raises(CheckpointError, match="the run was trained on another text"):
        make_trainer().load_state_dict(TrainingState(tensors, {**counters, "data": "another"}))
    other = make_trainer(small_config(model={"hidden_size": 13}))
    with pytest.raises(CheckpointError, match=r"was trained with model\.hidden_size 12, not 13"):
        other.load_state_dict(TrainingState(tensors, counters))
    with pytest.raises(CheckpointError, match=r"does not fit the architecture that model\.type"):
        other.load_state_dict(TrainingState(tensors, early(counters)))
    with pytest.raises(CheckpointError, match=r"damaged \(step: field required\)"):
        del counters["step"]
        make_trainer().load_state_dict(TrainingState(tensors, counters))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"training": {"seq_length": 5}}, "training.seq_length 10, not 5"),
        ({"training": {"batch_size": 2}}, "training.batch_size 4, not 2"),
        ({"data": {"batching": "windows"}}, "data.batching streams, not windows"),
        ({"model": {"residual": True}}, "model.residual False, not True"),
        ({"model": {"zoneout": 0.1}}, r"model.zoneout 0\.0, not 0\.1"),
        ({"model": {"attention_heads": 3}}, "model.attention_heads 1, not 3"),
        ({"training": {"averaging": "ema"}}, "training.averaging none, not ema"),
        ({"training": {"optimizer": "rmsprop"}}, "training.optimizer adamw, not rmsprop"),
        ({"training": {"precision": "float64"}}, "training.precision float32, not float64"),
        ({"data": {"train_frac": 0.5}}, r"data.train_frac 0\.8, not 0\.5"),
        ({"data": {"val_frac": 0.05}}, r"data.val_frac 0\.1, not 0\.05"),
    ],
)
def test_settings_that_a_state_depends_on_cannot_change(
    make_trainer: MakeTrainer, change: dict[str, Any], name: str
) -> None:
    trainer = make_trainer(small_config(training={"max_steps": 3}))
    trainer.train()
    with pytest.raises(CheckpointError, match=rf"was trained with {name}.*--init-from"):
        make_trainer(small_config(**change)).load_state_dict(trainer.state_dict())


def test_the_seed_of_windows_cannot_be_changed(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(small_config(training={"max_steps": 3}, data={"batching": "windows"}))
    trainer.train()
    other = make_trainer(small_config(training={"seed": 5}, data={"batching": "windows"}))
    with pytest.raises(CheckpointError, match=r"was trained with training\.seed 123, not 5.*--init-from"):
        other.load_state_dict(trainer.state_dict())


def test_a_state_older_than_a_setting_is_resumed(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(small_config(training={"max_steps": 3}))
    trainer.train()
    tensors, counters = trainer.state_dict()
    counters = early(counters)
    again = make_trainer()
    again.load_state_dict(TrainingState(tensors, counters))
    assert again.step == 3
    with pytest.raises(CheckpointError, match=r"with training\.precision float32, not float64"):
        make_trainer(small_config(training={"precision": "float64"})).load_state_dict(TrainingState(tensors, counters))


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors, counters: counters.update(step="many"),
        lambda tensors, counters: counters.update(interval=[]),
        lambda tensors, counters: counters.update(reading=None),
        lambda tensors, counters: counters.update(computing=3),
        lambda tensors, counters: counters.update(guard={"mean": "x"}),
        lambda tensors, counters: tensors.update({"rng.cpu": torch.zeros(3, dtype=torch.uint8)}),
        lambda tensors, counters: tensors.update({"hidden.0": torch.zeros(1, 2, 3)}),
        lambda tensors, counters: tensors.update({"hidden.x": torch.zeros(1)}),
        lambda tensors, counters: tensors.update({"optimizer.exp_avg.nothing": torch.zeros(1)}),
        lambda tensors, counters: tensors.pop("model.output_proj.bias"),
        lambda tensors, counters: tensors.pop("optimizer.exp_avg.output_proj.bias"),
        lambda tensors, counters: [tensors.pop(name) for name in list(tensors) if name.startswith("optimizer.")],
        lambda tensors, counters: tensors.update({"optimizer.step.output_proj.bias": torch.tensor(3)}),
        lambda tensors, counters: tensors.update(
            {(name := "optimizer.exp_avg.output_proj.bias"): tensors[name].double()}
        ),
        lambda tensors, counters: [tensors.pop(name) for name in list(tensors) if name.startswith("hidden.")],
        lambda tensors, counters: tensors.update({"model.output_proj.bias": tensors["model.output_proj.bias"].int()}),
        lambda tensors, counters: tensors.pop("rng.cpu"),
        lambda tensors, counters: counters.update(batch=10**6),
        lambda tensors, counters: counters.update(step=math.inf),
        lambda tensors, counters: counters.update(seconds=math.nan),
        lambda tensors, counters: counters.update(epoch=True),
        lambda tensors, counters: counters.update(plan=[]),
        lambda tensors, counters: counters.update(plan={"halvings": 10**400}),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(make_trainer: MakeTrainer, damage: Any) -> None:
    trainer = make_trainer(small_config(training={"max_steps": 3}))
    trainer.train()
    tensors, counters = trainer.state_dict()
    damage(tensors, counters)
    with pytest.raises(CheckpointError) as caught:
        make_trainer().load_state_dict(TrainingState(tensors, counters))
    assert "\n" not in str(caught.value)


def test_counters_damaged_at_random_are_refused_or_used(make_trainer: MakeTrainer) -> None:
    """A hundred values of other types and ranges in random places raise nothing but a ``CheckpointError``."""
    config = small_config(training={"max_steps": 3, "schedule": "plateau", "minutes": 5.0, "averaging": "polyak"})
    trainer = make_trainer(config)
    trainer.train_epoch()
    tensors, counters = trainer.state_dict()
    text, draw, refused = json.dumps(counters), random.Random(14), 0
    again = make_trainer(config)
    for _ in range(100):
        damaged = json.loads(text)
        *path, last = draw.choice([place for place in places(damaged) if place])
        holder = damaged
        for key in path:
            holder = holder[key]
        holder[last] = draw.choice(
            [None, True, -1, 10**6, 2**63, 10**400, math.inf, math.nan, 1e-320, "x", [], {}, [1], [[1, 2]], {"step": 1}]
        )
        try:
            again.load_state_dict(TrainingState(tensors, damaged))
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all values inside a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


def test_resuming_a_finished_run_records_its_end_once(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    config = small_config(training={"max_steps": 14})
    make_trainer(config, run_dir=tmp_path).train()
    before = [(r["step"], r["split"], r["loss"]) for r in MetricsWriter(tmp_path / "metrics.jsonl").read()]
    again = make_trainer(config, run_dir=tmp_path)
    again.load_state_dict(read_state(tmp_path))
    assert again.train().step == 14
    assert [(r["step"], r["split"], r["loss"]) for r in MetricsWriter(tmp_path / "metrics.jsonl").read()] == before
