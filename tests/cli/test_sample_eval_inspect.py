"""``char-rnn sample``, ``eval``, ``inspect``, ``config``, ``datasets``."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cli_helpers import SMALL, Command

from char_rnn import TextGenerator
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine
from char_rnn.model_file import ModelFile
from char_rnn.utils.config import Config, load_config


def test_sample_is_the_generator_streamed(char_rnn: Command, run_folder: Path) -> None:
    arguments = [
        "--prime",
        "The rose",
        "--length",
        80,
        "--temperature",
        0.7,
        "--top-k",
        9,
        "--top-p",
        0.95,
        "--seed",
        4,
    ]
    done = char_rnn("sample", run_folder, *arguments, "--quiet")
    expected = TextGenerator.load(run_folder).generate("The rose", 80, 0.7, 9, 0.95, seed=4)
    assert (done.status, done.out, done.err) == (0, expected + "\n", "")


def test_sample_says_what_it_samples_on_standard_error(char_rnn: Command, run_folder: Path) -> None:
    done = char_rnn("sample", run_folder / "best.safetensors", "--length", 3, "--seed", 1)
    assert "1-layer lstm with 8 units, trained on poem, validation loss" in done.err
    assert len(done.out) == 4


def test_sample_defaults_come_from_the_model(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    file = ModelFile.read(run_folder)
    settings = file.config.generation.model_copy(update={"length": 17, "temperature": 0.0, "prime": "The "})
    file.config = file.config.model_copy(update={"generation": settings})
    path = file.write(tmp_path / "m.safetensors")
    outputs = {char_rnn("sample", path, "-q").out for _ in range(2)}
    assert len(outputs) == 1
    assert len(outputs.pop()) == len("The ") + 17 + 1


def test_sample_stops_before_the_stop_text(char_rnn: Command, run_folder: Path) -> None:
    whole = char_rnn("sample", run_folder, "--length", 200, "--seed", 5, "-q").out
    stop = whole[90:93]
    assert char_rnn("sample", run_folder, "--length", 200, "--seed", 5, "--stop", stop, "-q").out == (
        whole[: whole.index(stop)] + "\n"
    )


def test_eval_gives_the_number_of_the_training(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    recorded = ModelFile.read(run_folder).training["best_val_loss"]
    figures = json.loads(char_rnn("eval", run_folder, poem, "--split", "val", "--json").out)
    assert figures["nats_per_character"] == pytest.approx(recorded, abs=1e-6)
    assert figures["bits_per_character"] == pytest.approx(recorded / math.log(2), abs=1e-6)
    assert figures["perplexity"] == pytest.approx(math.exp(recorded), abs=1e-5)
    assert figures["characters"] == 276
    assert figures["split"] == json.loads(char_rnn("eval", run_folder, poem, "--json").out)["split"]


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_a_model_is_used_in_the_precision_of_its_parameters(
    char_rnn: Command, poem: Path, tmp_path: Path, precision: str
) -> None:
    """Products alone were in bfloat16 while it was trained; its weights are not rounded to that afterwards."""
    sets = ["training.max_steps=8", "data.train_frac=0.8", "data.val_frac=0.1", f"training.precision={precision}"]
    words = [word for setting in [*sets, f"data.cache_dir={tmp_path / 'c'}"] for word in ("--set", setting)]
    assert char_rnn("train", poem, "--out", tmp_path / "run", *SMALL, *words, "--quiet").status == 0
    recorded = ModelFile.read(tmp_path / "run").training["best_val_loss"]
    figures = json.loads(char_rnn("eval", tmp_path / "run", poem, "--json").out)
    assert figures["nats_per_character"] == pytest.approx(recorded, abs=1e-6)
    model = TextGenerator.load(tmp_path / "run").model
    assert isinstance(model, Engine)
    assert model.precision == ("float64" if precision == "float64" else "float32")


def test_eval_measures_several_models_and_their_mean(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    models = [str(run_folder), str(run_folder / "last.safetensors")]
    figures = json.loads(char_rnn("eval", *models, poem, "--mean", "--json").out)
    alone = [json.loads(char_rnn("eval", model, poem, "--json").out) for model in models]
    for own, expected in zip(figures["models"], alone, strict=True):
        assert own == {name: value for name, value in expected.items() if name not in ("data", "split")}
    assert (figures["data"], figures["split"]) == ("poem", "val")
    losses = [own["nats_per_character"] for own in figures["models"]]
    assert figures["mean"]["nats_per_character"] <= sum(losses) / 2
    assert "mean" not in json.loads(char_rnn("eval", *models, poem, "--json").out)
    lines = char_rnn("eval", "--mean", *models, poem).out.splitlines()
    assert lines[0].startswith(f"{models[0]}: {losses[0]:.4f} nats per character")
    assert lines[2].startswith(f"mean of 2 models: {figures['mean']['nats_per_character']:.4f} nats per character")


def test_eval_tells_models_from_texts(char_rnn: Command, run_folder: Path, poem: Path) -> None:
    for arguments, message in {
        (run_folder, poem, "--mean"): f"--mean needs several models, but {poem} is not a model",
        (run_folder, run_folder): f"no text to evaluate on: {run_folder} is a model; give DATA after the models",
        (run_folder, run_folder, poem, "--dynamic"): "--dynamic evaluates one model; leave out the others",
        (run_folder, "demo", poem): "the vocabulary of demo has ",
        (run_folder, run_folder, "nowhere", poem): "nowhere: no such file or folder",
    }.items():
        done = char_rnn("eval", *arguments)
        assert done.err.startswith(f"error: {message}")
        assert done.err.count("\n") == 1
        assert done.status in (1, 2)


def test_eval_takes_the_whole_of_another_text(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("so is the rose")
    figures = json.loads(char_rnn("eval", run_folder, other, "--json").out)
    assert (figures["split"], figures["characters"]) == ("all", 13)
    assert "13 characters" in char_rnn("eval", run_folder, other).out


@pytest.mark.parametrize(
    ("unknown", "read", "changes", "said"),
    [
        ("nearest", "so is the rose, so is you", (3, 1), "3 characters replaced, 1 left out: read 'ï' as 'i',"),
        ("skip", "so s the rose, so s yu", (0, 4), "0 characters replaced, 4 left out: skipped unknown characters:"),
    ],
)
def test_eval_reads_unknown_characters_as_asked(
    char_rnn: Command, run_folder: Path, tmp_path: Path, unknown: str, read: str, changes: tuple[int, int], said: str
) -> None:
    other, plain = tmp_path / "other.txt", tmp_path / "plain.txt"
    other.write_text("so ïs the rose, so ïs yöu☃", encoding="utf-8")
    plain.write_text(read)
    done = char_rnn("eval", run_folder, other, "--unknown", unknown, "--json")
    figures, expected = json.loads(done.out), json.loads(char_rnn("eval", run_folder, plain, "--json").out)
    assert figures["nats_per_character"] == expected["nats_per_character"]
    assert (figures["replaced"], figures["skipped"], figures["characters"]) == (*changes, expected["characters"])
    assert said in done.err
    known = char_rnn("eval", run_folder, plain, "--unknown", unknown, "--json")
    assert json.loads(known.out) == {**expected, "replaced": 0, "skipped": 0}
    assert "0 characters replaced, 0 left out\n" in known.err


@pytest.mark.parametrize(
    ("kind", "unit", "symbols"), [("characters", "character", "é"), ("bytes", "byte", r"\xa9\xc3")]
)
def test_inspect_counts_in_the_models_symbols(
    char_rnn: Command, tmp_path: Path, kind: Any, unit: str, symbols: str
) -> None:
    config = Config.model_validate({"model": {"hidden_size": 2}, "training": {"seq_length": 7}})
    training = {"best_val_loss": 0.5, "best_step": 3}
    tensors = {"output_proj.bias": np.zeros(1, np.float32)}
    path = ModelFile(config, Vocabulary.from_text("é", kind), tensors, training).write(tmp_path / "m.safetensors")
    shown = char_rnn("inspect", path).out
    assert f" {kind}: {symbols}\n" in shown
    assert f" x 7 {unit}s, learning rate" in shown
    assert f"0.5000 nats, 0.7213 bits per {unit}, at step 3" in shown


@pytest.mark.parametrize("missing", ["data", "step", "best_step"])
def test_a_model_may_lack_any_fact_of_its_training(
    char_rnn: Command, run_folder: Path, tmp_path: Path, missing: str
) -> None:
    file = ModelFile.read(run_folder)
    file.training = {name: fact for name, fact in file.training.items() if name != missing}
    path = file.write(tmp_path / "m.safetensors")
    assert ("trained on an unnamed text" in char_rnn("sample", path, "--length", 3).err) == (missing == "data")
    assert f"{file.training['best_val_loss']:.4f} nats" in char_rnn("inspect", path).out


def test_inspect(char_rnn: Command, run_folder: Path) -> None:
    shown = char_rnn("inspect", run_folder).out
    file = ModelFile.read(run_folder)
    count = sum(tensor.size for tensor in file.tensors.values())
    for words in (
        "1-layer lstm with 8 units",
        f"{count:,}",
        "23 characters",
        "60 steps",
        "lstm.weight_hh_l0",
        "32x8",
        r"\n",
    ):
        assert words in shown
    everything = json.loads(char_rnn("inspect", run_folder, "--json").out)
    assert everything["parameters"] == count
    assert Config.model_validate(everything["config"]) == file.config


def test_inspect_shows_the_teachers(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    file = ModelFile.read(run_folder)
    taught = {"teacher": ["/home/me/a", "/home/me/b.t7"], "teacher_weight": 0.7, "teacher_temperature": 2.0}
    file.config = file.config.model_copy(update={"training": file.config.training.model_copy(update=taught)})
    path = file.without_paths().write(tmp_path / "m.safetensors")
    shown = char_rnn("inspect", path).out
    assert "  teachers      a, b.t7 (weight 0.7, temperature 2)\n" in shown
    assert """--set 'training.teacher=["a", "b.t7"]' --set training.teacher_weight=0.7""" in shown
    assert "/home" not in shown


def test_inspect_gives_the_command_that_trains_the_model_again(
    char_rnn: Command, poem: Path, run_folder: Path, tmp_path: Path
) -> None:
    shown = char_rnn("inspect", run_folder).out
    command = shown.partition("To train it again (with names in place of paths):\n")[2].strip()
    words = shlex.split(command)
    assert words[:3] == ["char-rnn", "train", "poem"]
    assert json.loads(char_rnn("inspect", run_folder, "--json").out)["command"] == command
    assert str(tmp_path.parent) not in command
    words[2] = str(poem)
    again = tmp_path / "again"
    assert char_rnn(*words[1:], "--out", again, "-q", "--set", f"data.cache_dir={tmp_path / 'cache'}").status == 0
    first, second = ModelFile.read(run_folder), ModelFile.read(again)
    assert all((second.tensors[name] == tensor).all() for name, tensor in first.tensors.items())
    file = ModelFile(first.config, first.vocabulary, first.tensors, {**first.training, "init_from": "/a/my model"})
    shown = char_rnn("inspect", file.write(tmp_path / "m.safetensors")).out
    assert "--init-from 'my model'" in shown.partition("To train it again (")[2]


def test_config_show_can_be_read_back(char_rnn: Command, tmp_path: Path) -> None:
    shown = char_rnn("config", "show", "--recipe", "quickstart", "--set", "model.hidden_size=77").out
    path = tmp_path / "my.yaml"
    path.write_text(shown)
    assert load_config(path).model.hidden_size == 77
    assert set(yaml.safe_load(shown)) == {"model", "training", "data", "generation", "logging", "device"}
    checked = char_rnn("config", "check", path)
    assert (checked.status, checked.out) == (0, f"{path}: valid\n")


def test_config_list_names_every_recipe(char_rnn: Command) -> None:
    listed = char_rnn("config", "list").out
    assert "quickstart" in listed
    assert all(len(line.split(maxsplit=1)) == 2 for line in listed.splitlines())


def test_datasets(char_rnn: Command) -> None:
    listed = char_rnn("datasets").out
    assert "python-stdlib" in listed
    assert "  at " in listed
    assert "tinyshakespeare" in listed
    assert "1.1 MB  downloaded on first use" in listed
