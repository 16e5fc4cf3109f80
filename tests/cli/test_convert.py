"""``char-rnn convert``, and checkpoints of 2015 where a model file is expected."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Command, loaded
from made_checkpoints import language_model, made, simple_checkpoint
from t7_writer import dump

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.torch7 import read_model
from char_rnn.torch7.t7.values import Table
from char_rnn.utils.config import Config, to_yaml
from char_rnn.utils.model_files import read_tensors

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_checkpoint.py"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A checkpoint of char-rnn."""
    path = tmp_path / "lm_lstm_epoch1.25_2.7500.t7"
    path.write_bytes(dump(simple_checkpoint()))
    return path


@pytest.fixture
def torch_rnn(tmp_path: Path) -> Path:
    """A checkpoint of torch-rnn, of four symbols and two units."""
    parts = [
        made("nn.LookupTable", weight=np.eye(4, 3, dtype=np.float32)),
        made("nn.VanillaRNN", weight=np.ones((5, 2), np.float32), bias=np.zeros(2, np.float32)),
        made("nn.Linear", weight=np.ones((4, 2), np.float32), bias=np.zeros(4, np.float32)),
    ]
    path = tmp_path / "checkpoint_64.t7"
    path.write_bytes(dump(language_model(parts, [b"b", "é".encode(), b"a", b"\x1b"])))
    return path


def test_convert(char_rnn: Command, old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.safetensors"
    done = char_rnn("convert", old, new)
    assert (done.status, done.out) == (0, "")
    assert done.err == (
        f"{old} (char-rnn of 2015) -> {new}: 2-layer lstm with 3 units, 236 parameters (float64),"
        " vocabulary of 5 bytes\n"
    )
    expected, found = read_model(old).without_paths(), ModelFile.read(new)
    assert (found.config, found.vocabulary, found.training) == (
        expected.config,
        expected.vocabulary,
        expected.training,
    )
    for name, tensor in expected.tensors.items():
        assert (found.tensors[name].dtype, found.tensors[name].tobytes()) == (tensor.dtype, tensor.tobytes())


def test_convert_a_model_of_torch_rnn(char_rnn: Command, torch_rnn: Path, tmp_path: Path) -> None:
    done = char_rnn("convert", torch_rnn, tmp_path / "new.safetensors")
    assert "(torch-rnn) -> " in done.err
    assert "1-layer rnn with 2 units, 38 parameters (float32), vocabulary of 4 characters" in done.err
    assert char_rnn("convert", torch_rnn, tmp_path / "quiet.safetensors", "-q").err == ""


def test_convert_a_run_folder(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    done = char_rnn("convert", run_folder, tmp_path / "new.safetensors")
    assert f"{run_folder} (char-rnn) -> " in done.err
    expected, found = ModelFile.read(run_folder), ModelFile.read(tmp_path / "new.safetensors")
    assert found.training == expected.training
    assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())


def test_convert_to_8_bits(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    new, again, page = (tmp_path / name for name in ("new.safetensors", "again.safetensors", "page.html"))
    done = char_rnn("convert", run_folder, new, "--precision", "int8", "--set", "generation.prime=the ")
    assert "parameters (float32, int8), vocabulary" in done.err
    read = ModelFile.read(new)
    assert read.config.generation.prime == "the "
    assert char_rnn("convert", new, again).status == 0
    first, second = read_tensors(new), read_tensors(again)
    assert first[1] == second[1]
    assert all(np.array_equal(second[0][name], array) for name, array in first[0].items())
    shown = char_rnn("inspect", new).out
    assert "(float32, int8)" in shown
    assert "scales" not in shown
    assert char_rnn("sample", new, "--length", 9, "-q").out.startswith("the ")
    assert char_rnn("export", new, page).status == 0
    exported = page.read_text("utf-8")
    assert char_rnn("convert", run_folder, again, "--force").status == 0
    assert char_rnn("export", again, page, "--title", "new", "--force").status == 0
    weights = re.compile(r'id="weights">([^<]*)<')
    assert weights.findall(page.read_text("utf-8")) == weights.findall(exported)  # a page stores the same 8 bits


def test_a_timed_run_is_converted_with_its_schedule(char_rnn: Command, tmp_path: Path) -> None:
    run, new = tmp_path / "run", tmp_path / "new.safetensors"
    run.mkdir()
    (run / "best.safetensors").write_bytes(b"")
    vocabulary = Vocabulary.from_text("ab")
    for minutes in (None, 2.0):
        config = Config.model_validate({"training": {"minutes": minutes, "seed": 3}})
        ModelFile(config, vocabulary, {"m": np.ones((2, 2), np.float32)}).write(run / "best.safetensors")
        fitted = {"minutes": None, "max_steps": 70, "horizons": [(0, 50), (20, 70)], "seed": 3}
        (run / "config.yaml").write_text(to_yaml(Config.model_validate({"training": fitted})), encoding="utf-8")
        assert char_rnn("convert", run, new, "--force").status == 0
        training = ModelFile.read(new).config.training
        assert (training.minutes, training.max_steps) == (None, None if minutes is None else 70)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.type=gru", "--set model.type=gru: only the section generation of a saved model can be changed"),
        ("generation.primes=a", "unknown key; did you mean prime"),
        ("generation.length=-1", "--set: generation.length: must be a whole number from 0"),
    ],
)
def test_what_cannot_be_set(char_rnn: Command, run_folder: Path, tmp_path: Path, setting: str, message: str) -> None:
    done = char_rnn("convert", run_folder, tmp_path / "new.safetensors", "--set", setting)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert not (tmp_path / "new.safetensors").exists()


def test_convert_replaces_a_file_only_when_told(char_rnn: Command, old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.safetensors"
    new.write_bytes(b"precious")
    done = char_rnn("convert", old, new)
    assert done.status == 2
    assert f"{new}: exists already; give another name, or --force to replace it" in done.err
    assert new.read_bytes() == b"precious"
    assert char_rnn("convert", old, new, "--force").status == 0
    (folder := new.with_name("folder.safetensors")).mkdir()
    done = char_rnn("convert", old, folder, "--force")
    assert (done.status, f"{folder}: is a folder" in done.err) == (2, True)
    assert ModelFile.read(new).config.model.type == "lstm"


@pytest.mark.parametrize(
    ("name", "new", "status", "message"),
    [
        ("lm_lstm_epoch1.25_2.7500.t7", "new.t7", 2, "new.t7: must end in .safetensors"),
        ("lm_lstm_epoch1.25_2.7500.t7", "no/new.safetensors", 2, "no: no such folder"),
        ("none.t7", "new.safetensors", 2, "none.t7: no such model file or run folder"),
        ("number.t7", "new.safetensors", 1, "number.t7: holds a number; give a checkpoint that train.lua"),
        ("table.t7", "new.safetensors", 1, "table.t7: holds a table without a model; give a checkpoint"),
        ("vocab.t7", "new.safetensors", 1, "vocab.t7: holds a vocabulary, not a model; give a checkpoint"),
        ("short.t7", "new.safetensors", 1, "short.t7: "),
        ("text.t7", "new.safetensors", 1, "text.t7: "),
        ("empty.t7", "new.safetensors", 1, "empty.t7: byte 0: the file is empty"),
        ("text.safetensors", "new.safetensors", 1, "not a model file"),
    ],
)
def test_what_cannot_be_converted_is_one_line(
    char_rnn: Command, old: Path, tmp_path: Path, name: str, new: str, status: int, message: str
) -> None:
    files = {
        "number.t7": dump(2.5),
        "table.t7": dump(Table.of([1.0])),
        "vocab.t7": dump(Table.of({b"a": 1.0, b"b": 2.0})),
        "short.t7": old.read_bytes()[:-100],
        "text.t7": b"It was the best of times",
        "empty.t7": b"",
        "text.safetensors": b"It was the best of times",
    }
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    done = char_rnn("convert", tmp_path / name, tmp_path / new)
    assert done.refused(status, message)
    assert not (tmp_path / "new.safetensors").exists()


def test_the_script_is_the_command(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "new.safetensors"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(old), str(new), "--quiet"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert stop.value.code == 0
    assert ModelFile.read(new).vocabulary.size == 5


def test_inspect_shows_what_inspect_checkpoint_showed(char_rnn: Command, old: Path, tmp_path: Path) -> None:
    char_rnn("convert", old, tmp_path / "new.safetensors")
    shown = char_rnn("inspect", old).out
    of_new = char_rnn("inspect", tmp_path / "new.safetensors").out
    by_name = shown.replace("data/garden", "garden")
    assert sorted(by_name.splitlines()[1:]) == sorted(of_new.splitlines()[1:])
    assert "2-layer lstm with 3 units, one-hot input of 5, dropout 0" in shown
    assert "40 steps, 1.25 epochs of data/garden" in shown
    assert ", seed 4294967295\n  sampling      temperature 1, 2,000 bytes, seed 123\n" in shown
    assert '\nopt:\n{\n  batch_size : 4\n  checkpoint_dir : "cv"\n' in shown
    assert shown.endswith("\nval losses:\n{\n  10 : 2.5\n  20 : 3.0\n  30 : null\n  40 : 2.75\n}\n")


def test_inspect_torch_rnn(char_rnn: Command, torch_rnn: Path) -> None:
    shown = char_rnn("inspect", torch_rnn).out
    assert "100 steps on data/garden.h5" in shown
    assert "learning rate 0.001\n  sampling      temperature 1, top p 0.9, 1,000 characters, a new seed each" in shown
    assert r"4 characters: béa\x1b" in shown
    assert shown.endswith("\nval losses:\n{\n  50 : 3.25\n  100 : 3.0\n}\n")
    everything = json.loads(char_rnn("inspect", torch_rnn, "--json").out)
    assert everything["training"]["torch_rnn"]["train_losses"] == [3.5, None]
    assert everything["tensors"]["embedding.weight"] == [4, 3]


def test_inspect_takes_facts_that_are_not_as_they_should_be(
    char_rnn: Command, run_folder: Path, tmp_path: Path
) -> None:
    file = ModelFile.read(run_folder)
    file.training = {"torch7": {"opt": [1], "val_losses": {"\x1b[2J": "\ud800"}}}
    shown = char_rnn("inspect", file.write(tmp_path / "odd.safetensors"))
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.endswith('opt:\n{\n}\nval losses:\n{\n  \\x1b[2J : "\\ud800"\n}\n')


def test_eval_of_a_checkpoint_is_that_of_its_model_file(char_rnn: Command, old: Path, tmp_path: Path) -> None:
    char_rnn("convert", old, tmp_path / "new.safetensors")
    text = tmp_path / "text.txt"
    text.write_bytes(b"rose so sore" * 30)
    done = [char_rnn("eval", model, text, "--json") for model in (old, tmp_path / "new.safetensors")]
    figures = [json.loads(each.out) for each in done]
    assert figures[0]["bytes"] == 359
    assert figures[0]["nats_per_byte"] == figures[1]["nats_per_byte"]
    remark = "does not record its training text; if text is that text, add --split val\n"
    assert [each.err.endswith(remark) for each in done] == [True, True]
    assert char_rnn("eval", old, text, "--json", "--split", "val").err == ""
    compared = char_rnn("novelty", old, text, "--length", 9)
    assert compared.err.startswith("the model does not record its training text\n")


@pytest.mark.slow
def test_converting_and_inspecting_import_no_torch(old: Path, tmp_path: Path) -> None:
    assert loaded(["torch"], "convert", old, tmp_path / "new.safetensors") == []
    assert loaded(["torch"], "inspect", old) == []
