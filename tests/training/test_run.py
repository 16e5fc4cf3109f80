"""Runs from configurations: initial weights, backend and device; training in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_helpers import small_config

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import CharModel, build_model
from char_rnn.training import CharRNNTrainer
from char_rnn.training.backend import TrainerBackend
from char_rnn.training.run import RunContext, resume_run, start_run
from char_rnn.utils.config import Config, ConfigError, compose_config, load_config
from char_rnn.utils.device import DeviceManager

TEXT = "a rose is a rose is a rose.\n" * 30


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "rose.txt"
    path.write_text(TEXT)
    return path


def config_for(text: Path, **sections: dict[str, Any]) -> Config:
    training = {"max_steps": 3, **sections.pop("training", {})}
    return small_config(data={"data_dir": str(text), "cache_dir": str(text.parent)}, training=training, **sections)


def config_of_2015(text: Path, *overrides: str) -> Config:
    small = ("training.batch_size=2", "training.seq_length=5", "training.max_steps=3", "model.hidden_size=7")
    return compose_config("torch7", overrides=[f"data.data_dir={text}", *small, *overrides])


def model_file(dtype: str = "float32", **model: Any) -> ModelFile:
    config = small_config(model={"hidden_size": 7, "num_layers": 1, "dropout": 0.5, **model})
    vocabulary = Vocabulary.from_text(TEXT)
    tensors = build_model(config.model, vocabulary.size, dtype=dtype).state_dict()
    return ModelFile(config, vocabulary, {name: tensor.numpy() for name, tensor in tensors.items()})


@pytest.mark.parametrize(
    ("symbols", "model", "length"),
    [
        (512, {}, 512),
        (513, {}, 512),
        (600, {"embedding_size": 600}, 600),
        (600, {"embedding": "one-hot"}, 600),
        (600, {"tie_weights": True, "hidden_size": 520}, 520),
    ],
)
def test_the_default_embedding_of_a_new_run_is_at_most_512_long(
    tmp_path: Path, symbols: int, model: dict[str, Any], length: int
) -> None:
    text = tmp_path / "large.txt"
    text.write_text("".join(map(chr, range(0x4E00, 0x4E00 + symbols))) * 3, encoding="utf-8")
    config = config_for(text, model={"hidden_size": 7, "num_layers": 1, **model}, training={"max_steps": 1})
    trainer = start_run(config, tmp_path / "run").trainer
    assert (trainer.model.vocab_size, trainer.model.embedding.embedding_dim) == (symbols, length)
    again = resume_run(load_config(tmp_path / "run" / "config.yaml"), tmp_path / "run").trainer
    assert again.config.model == trainer.config.model
    assert ModelFile.read(tmp_path / "run").config.model.input_size(symbols) == length


@pytest.mark.parametrize(
    ("given", "expected"), [(None, ["Once upon a time ", "and then "]), ([], []), (["So "], ["So "])]
)
@pytest.mark.parametrize("vocabulary", ["characters", "bytes"])
def test_a_new_run_finds_primes_to_suggest(
    tmp_path: Path, vocabulary: str, given: list[str] | None, expected: list[str]
) -> None:
    lines = (f"Once upon a time {number}\nand then {number}\n" for number in range(40))
    text, folder = tmp_path / "tales.txt", tmp_path / "run"
    text.write_text("".join(lines), encoding="utf-8")
    config = config_for(text, training={"max_steps": 2, "eval_interval": 1}, generation={"suggested_primes": given})
    config = config.model_copy(update={"data": config.data.model_copy(update={"vocabulary": vocabulary})})
    start_run(config, folder).train()
    saved = load_config(folder / "config.yaml")
    assert saved.generation.suggested_primes == expected
    assert ModelFile.read(folder).summary()["suggested_primes"] == expected
    again = resume_run(saved, folder).trainer
    assert again.config.generation.suggested_primes == expected


@pytest.mark.parametrize("damaged", ["best.safetensors", "last.safetensors"])
def test_a_run_with_a_damaged_model_is_resumed(
    text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    folder = tmp_path / "run"
    start_run(config_for(text, training={"max_steps": 6, "eval_interval": 3}), folder).train()
    (folder / damaged).write_bytes((folder / damaged).read_bytes()[:-9])
    config = load_config(folder / "config.yaml")
    config = config.model_copy(update={"training": config.training.model_copy(update={"max_steps": 9})})
    run = resume_run(config, folder)
    assert f"{damaged}: not a model file, or cut short" in caplog.text
    assert (run.trainer.step, run.trainer.checkpoints.best_step == 0) == (6, damaged == "best.safetensors")
    result = run.train()
    best, last = (ModelFile.read(folder / name).training for name in ("best.safetensors", "last.safetensors"))
    assert (best["step"], last["step"]) == (result.best_step, 9)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_run_starts_from_a_model_in_memory(text: Path, tmp_path: Path, precision: str) -> None:
    origin = model_file(dtype="float64")
    config = config_for(text, training={"precision": precision, "learning_rate": 1e-12})
    run = start_run(config, tmp_path / "run", init_from=origin)
    assert (run.trainer.config.model.hidden_size, run.trainer.config.model.dropout) == (7, 0.25)
    found = {name: tensor.numpy() for name, tensor in run.trainer.model.state_dict().items()}
    assert all((found[name] == array.astype(precision)).all() for name, array in origin.tensors.items())
    run.train()
    last = ModelFile.read(tmp_path / "run" / "last.safetensors")
    assert last.training["init_from"] == "a model in memory"
    assert {array.dtype for array in last.tensors.values()} == {np.dtype(precision)}


def test_dropout_comes_from_the_new_run(text: Path, tmp_path: Path) -> None:
    own = {"dropout": 0.1, "locked_dropout": True, "embedding_dropout": 0.2, "weight_dropout": 0.3}
    origin = model_file(residual=True, zoneout=0.1)
    run = start_run(config_for(text, model=own), tmp_path / "run", init_from=origin)
    expected = origin.config.model.model_copy(update={**own, "initialization": run.trainer.config.model.initialization})
    assert run.trainer.config.model == expected
    assert (run.trainer.model.config.locked_dropout, run.trainer.model.config.weight_dropout) == (True, 0.3)


def test_a_model_is_opened_as_the_context_says(text: Path, tmp_path: Path) -> None:
    origin, asked = model_file(), []

    def open_model(path: str | Path) -> ModelFile:
        asked.append(path)
        return origin

    run = start_run(config_for(text), tmp_path / "run", init_from="old.t7", context=RunContext(open_model=open_model))
    assert asked == ["old.t7"]
    assert run.trainer.checkpoints.metadata["init_from"] == "old.t7"
    assert run.corpus.vocabulary == origin.vocabulary


def test_the_seed_draws_the_same_model_in_both_precisions(text: Path, tmp_path: Path) -> None:
    runs = [start_run(config_for(text, training={"precision": precision}), tmp_path / precision)
            for precision in ("float32", "float64")]  # fmt: skip
    single, double = (run.trainer.model.state_dict() for run in runs)
    assert all(torch.equal(tensor.double(), double[name]) for name, tensor in single.items())


class NamedBackend(TrainerBackend):
    """The modern backend under the other name."""

    name = "torch7"


def test_a_backend_replaces_the_modern_one(text: Path, tmp_path: Path) -> None:
    """Its model and trainer are used by a new and a resumed run."""

    class Counting(CharRNNTrainer):
        advances = 0

        def _advance(self) -> None:
            super()._advance()
            self.advances += 1

    class Backend(NamedBackend):
        def model(self, config: Config, vocab_size: int, tensors: Any = None) -> CharModel:
            model = build_model(config.model, vocab_size, tensors)
            torch.nn.init.zeros_(model.output_proj.weight)
            return model

        def trainer(self, *arguments: Any, **options: Any) -> CharRNNTrainer:
            return Counting(*arguments, **options)

    config = config_of_2015(text)
    run = start_run(config, tmp_path / "run", backend=Backend())
    assert not run.trainer.model.output_proj.weight.any()
    run.train()
    assert isinstance(run.trainer, Counting)
    assert run.trainer.advances == 3
    config.training.max_steps = 5
    again = resume_run(config, tmp_path / "run", backend=Backend())
    again.train()
    assert isinstance(again.trainer, Counting)
    assert again.trainer.advances == 2


def test_a_backend_that_the_configuration_does_not_name_is_refused(text: Path, tmp_path: Path) -> None:
    config = config_of_2015(text)
    with pytest.raises(ValueError, match=r"training\.trainer is torch7, but the run was given the backend modern"):
        start_run(config, tmp_path / "run")


def test_the_trainer_of_2015_starts_from_2015s_models_alone(text: Path, tmp_path: Path) -> None:
    config = config_of_2015(text)
    with pytest.raises(ConfigError, match=r"^init_from a model in memory: .* needs model\.embedding one-hot"):
        start_run(config, tmp_path / "run", init_from=model_file(), backend=NamedBackend())


def test_the_trainer_of_2015_keeps_a_models_dropout(text: Path, tmp_path: Path) -> None:
    config = config_of_2015(text, "model.dropout=0.1")
    origin = model_file(embedding="one-hot")
    origin.vocabulary = Vocabulary.from_text(TEXT, "bytes")
    run = start_run(config, tmp_path / "run", init_from=origin, backend=NamedBackend())
    assert (run.trainer.config.model.dropout, run.trainer.model.dropout) == (0.5, 0.5)


def test_a_device_without_doubles_falls_back(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on MPS, the model cannot be moved to it."""
    to = CharModel.to

    def refuse(model: CharModel, *arguments: Any, **options: Any) -> CharModel:
        if any(isinstance(argument, torch.device) and argument.type == "mps" for argument in arguments):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return to(model, *arguments, **options)

    manager = DeviceManager("cpu", auto_detect=False)
    manager.device = torch.device("mps")
    monkeypatch.setattr(CharModel, "to", refuse)
    config = config_for(text, training={"precision": "float64"})
    run = start_run(config, tmp_path / "run", context=RunContext(device=manager))
    assert run.trainer.device.type == "cpu"
    assert "mps failed (mps: Cannot convert a MPS Tensor" in caplog.text
