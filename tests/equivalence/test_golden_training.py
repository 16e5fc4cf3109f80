"""The exact recipe against recordings of the 2015 program: every number of its runs on Torch7."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equivalence_helpers import Watcher, flat_vector, torch7_trainer

from char_rnn import Config, prepare_corpus
from char_rnn.torch7 import read_model
from char_rnn.torch7.trainer import Torch7Trainer, TrainLuaLines
from char_rnn.utils.config import compose_config

RUNS = ("lstm", "lstm1", "lstm_drop", "gru", "rnn")


def options(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "opt.json").read_text())


def settings_of(folder: Path) -> list[str]:
    opt = options(folder)
    keys = {
        "model.type": opt["model"],
        "model.hidden_size": int(opt["rnn_size"]),
        "model.num_layers": int(opt["num_layers"]),
        "model.dropout": opt["dropout"],
        "training.batch_size": int(opt["batch_size"]),
        "training.seq_length": int(opt["seq_length"]),
        "training.max_epochs": int(opt["max_epochs"]),
        "training.eval_interval": int(opt["eval_val_every"]),
        "training.seed": int(opt["seed"]),
        "logging.savefile": opt["savefile"],
    }
    return [f"{key}={value}" for key, value in keys.items()]


def config_of(folder: Path) -> Config:
    return compose_config("torch7", overrides=settings_of(folder))


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, golden: Path) -> tuple[str, Any, Torch7Trainer, Watcher, np.ndarray, str]:
    name = request.param
    recorded = np.load(golden / name / "golden.npz")
    watcher, output = Watcher(), io.StringIO()
    corpus = prepare_corpus(golden / "corpus" / "input.txt", vocabulary="bytes")
    trainer = torch7_trainer(corpus, config_of(golden / name), [watcher, TrainLuaLines()])
    initial = flat_vector(trainer.model)
    words = trainer.rng.state_array()
    np.testing.assert_array_equal(trainer.rng.words(4), recorded["rng_next4_before_first_feval"])
    trainer.rng.load_state_array(words)
    with redirect_stdout(output):
        trainer.train()
    return name, recorded, trainer, watcher, initial, output.getvalue()


def test_the_initial_parameters_are_the_same_bits(run: Any) -> None:
    _, recorded, _, _, initial, _ = run
    np.testing.assert_array_equal(initial, recorded["params_init"])


def test_the_generator_ends_where_it_ended(run: Any) -> None:
    _, recorded, trainer, *_ = run
    np.testing.assert_array_equal(trainer.rng.words(4), recorded["rng_next4_at_end"])


def test_every_loss_is_the_same(run: Any) -> None:
    _, recorded, _, watcher, *_ = run
    np.testing.assert_allclose(watcher.losses, recorded["train_losses"], rtol=1e-12, atol=0)
    np.testing.assert_array_equal(watcher.rates, recorded["learning_rates"])
    assert list(watcher.val) == recorded["val_iters"].astype(int).tolist()
    np.testing.assert_allclose(list(watcher.val.values()), recorded["val_losses"], rtol=1e-12, atol=0)


def test_the_first_gradients_are_the_same(run: Any) -> None:
    _, recorded, _, watcher, *_ = run
    for number, gradient in enumerate(watcher.gradients, 1):
        expected = recorded[f"grad_{number}"]
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12 * abs(expected).max())
    squares = abs(watcher.mean_squares)  # a square has no sign to turn
    np.testing.assert_allclose(squares, recorded["rms_m_1"], rtol=1e-11, atol=1e-25)


def test_the_parameters_are_the_same_on_the_way_and_at_the_end(run: Any) -> None:
    _, recorded, trainer, watcher, *_ = run
    for step, parameters in watcher.parameters.items():
        key = "params_final" if step == trainer.total_steps else f"params_{step}"
        np.testing.assert_allclose(parameters, recorded[key], rtol=0, atol=1e-10)
    assert list(watcher.parameters) == [1, 2, 10, 123]


def test_every_line_of_a_step_is_the_same_but_for_the_time(run: Any, golden: Path) -> None:
    name, *_, output = run

    def lines(text: str) -> list[str]:
        step = re.compile(r"^\d+/\d+ \(epoch.*(?=, time/batch = \d+\.\d{4}s$)", re.MULTILINE)
        return step.findall(text)

    expected = lines((golden / name / "train.log").read_text())
    assert len(expected) == 123
    assert lines(output) == expected


def test_the_rest_of_the_lines_are_those_of_the_log(run: Any, golden: Path) -> None:
    name, *_, output = run
    log = (golden / name / "train.log").read_text().splitlines()
    expected = log[log.index("loading data files...") :]
    only_there = [line for line in expected if line.startswith("cloning")]
    assert _without_steps(output.splitlines()) == [line for line in _without_steps(expected) if line not in only_there]


def _without_steps(lines: list[str]) -> list[str]:
    return [line for line in lines if "time/batch" not in line and "saving" not in line]


def test_checkpoints_have_the_names_they_had(golden: Path, tmp_path: Path) -> None:
    corpus = prepare_corpus(golden / "corpus" / "input.txt", vocabulary="bytes")
    torch7_trainer(corpus, config_of(golden / "lstm"), run_dir=tmp_path).train()
    expected = {path.stem for path in (golden / "lstm" / "cv").glob("*.t7")}
    assert {path.stem for path in tmp_path.glob("lm_*.safetensors")} == expected


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm_drop"])
@pytest.mark.parametrize("step", [50, 100])
def test_from_a_checkpoint_the_next_loss_is_the_originals(golden: Path, name: str, step: int) -> None:
    [path] = golden.glob(f"{name}/cv/*_epoch{step / 123:.2f}_*.t7")
    file, corpus = read_model(path), prepare_corpus(golden / "corpus" / "input.txt", vocabulary="bytes")
    assert file.vocabulary == corpus.vocabulary
    trainer = torch7_trainer(corpus, file.config)
    trainer.model.load_state_dict({key: torch.from_numpy(value) for key, value in file.tensors.items()})
    model = file.config.model
    if model.dropout:
        trainer.rng.words(step * 20 * model.num_layers * 10 * model.hidden_size)  # the masks of the steps before
    trainer.evaluate("val")  # as there, whose state the training goes on from
    x, y = next(trainer.train_batches.epoch(0, step))
    loss = trainer.train_step(x, y)
    np.testing.assert_allclose(loss, np.load(golden / name / "golden.npz")["train_losses"][step], rtol=1e-12)
