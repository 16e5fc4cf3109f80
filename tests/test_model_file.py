"""The self-contained model file: what goes in comes out; what is no model file is refused in one line."""

from __future__ import annotations

import errno
import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.network import rounded
from char_rnn.model_file import NUMBERS, ModelFile, ModelHeader
from char_rnn.utils.config import Config
from char_rnn.utils.files import replacing
from char_rnn.utils.model_files import FORMAT_VERSION, ModelFileError, find_model, read_tensors, write_tensors


def model_file(text: str = "naïve 🌹\n", kind: str = "characters") -> ModelFile:
    vocabulary = Vocabulary.from_text(text, kind)
    tensors = {
        "lstm.weight_hh_l0": np.arange(12, dtype=np.float32).reshape(4, 3),
        "output_proj.bias": np.array([1e-40, np.inf, -0.0], np.float32),
        "scale": np.array(2.5),
    }
    config = Config.model_validate({"training": {"learning_rate": 1 / 3, "seed": 7}})
    return ModelFile(config, vocabulary, tensors, {"step": 12, "best_val_loss": 1 / 7, "data": "garden"})


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_round_trip(tmp_path: Path, kind: str) -> None:
    original = model_file(kind=kind)
    read = ModelFile.read(original.write(tmp_path / "m.safetensors"))
    assert read.config == original.config
    assert read.vocabulary == original.vocabulary
    assert read.training == original.training
    assert list(read.tensors) == sorted(original.tensors)
    for name, tensor in original.tensors.items():
        assert read.tensors[name].shape == tensor.shape
        assert read.tensors[name].tobytes() == tensor.tobytes()


def test_matrices_in_8_bits(tmp_path: Path) -> None:
    original = model_file()
    path = replace(original, in_8_bits=True).write(tmp_path / "m.safetensors")
    tensors, metadata = read_tensors(path)
    assert metadata["format_version"] == "2"
    assert {name: array.dtype.name for name, array in tensors.items()} == {
        "lstm.weight_hh_l0": "int8",
        "lstm.weight_hh_l0.scales": "float32",
        "output_proj.bias": "float32",
        "scale": "float64",
    }
    read = ModelFile.read(path)
    assert read.in_8_bits
    assert (read.config, read.vocabulary, read.training) == (original.config, original.vocabulary, original.training)
    assert read.tensors.keys() == original.tensors.keys()
    assert read.tensors["output_proj.bias"].tobytes() == original.tensors["output_proj.bias"].tobytes()
    expected = rounded(original.tensors["lstm.weight_hh_l0"], "int8")
    assert read.tensors["lstm.weight_hh_l0"].tobytes() == expected.tobytes()
    again, same = read_tensors(read.write(tmp_path / "again.safetensors"))
    assert same == metadata
    assert all(again[name].tobytes() == array.tobytes() for name, array in tensors.items())
    header = ModelHeader.read(path)
    assert (header.shapes, header.parameters) == ({n: t.shape for n, t in original.tensors.items()}, 12 + 3 + 1)
    plain = read_tensors(original.write(tmp_path / "plain.safetensors"))[1]
    assert plain["format_version"] == "1"  # read by version 1.0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"m.scales": None}, "m"),
        ({"m": None}, "m"),
        ({"m": np.ones((3, 2), np.float32)}, "m"),
        ({"m": np.ones(3, np.int8)}, "m"),
        ({"m.scales": np.ones(3)}, "m"),
        ({"m.scales": np.ones((3, 2), np.float32)}, "m"),
        ({"m.scales": np.ones(2, np.float32)}, "m"),
        ({"v": np.ones(4, np.int8)}, "v"),
        ({"w": np.ones((4, 4), np.float32)}, "w"),
    ],
)
def test_damaged_matrices_in_8_bits(tmp_path: Path, changes: dict[str, np.ndarray | None], name: str) -> None:
    file = replace(model_file(), tensors={"m": np.ones((3, 2), np.float32)}, in_8_bits=True)
    path = file.write(tmp_path / "m.safetensors")
    tensors, metadata = read_tensors(path)
    kept = {key: array for key, array in {**tensors, **changes}.items() if array is not None}
    write_tensors(path, kept, metadata)
    with pytest.raises(ModelFileError, match=rf"m.safetensors: its matrix {name} is damaged \(not int8 with a scale"):
        ModelFile.read(path)


def test_a_diverged_model_in_8_bits_is_written_and_read(tmp_path: Path) -> None:
    tensors = {"m": np.array([[1e200, 1.0], [np.nan, 2.0], [3.0, 4.0]])}
    read = ModelFile.read(replace(model_file(), tensors=tensors, in_8_bits=True).write(tmp_path / "m.safetensors"))
    assert np.isfinite(read.tensors["m"]).all(1).tolist() == [False, False, True]


def test_demo_means_the_model_in_the_package_unless_a_file_has_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("char_rnn.utils.model_files.DEMO_FILE", model_file().write(tmp_path / "package.safetensors"))
    assert find_model("demo") == find_model(Path("demo")) == tmp_path / "package.safetensors"
    with pytest.raises(FileNotFoundError):
        find_model("./other/demo")
    (tmp_path / "demo").mkdir()
    with pytest.raises(FileNotFoundError, match="demo: no model in this folder"):
        find_model("demo")
    model_file().write(tmp_path / "demo" / "last.safetensors")
    assert find_model("demo") == Path("demo/last.safetensors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
PATHS = st.binary(min_size=1).map(lambda name: name.decode("utf-8", "surrogateescape"))


FACTS = st.dictionaries(st.sampled_from([*NUMBERS, "data", "x"]) | st.text(), JSON | PATHS)


@settings(max_examples=40)
@given(facts=FACTS, text=st.text(min_size=1, max_size=20))
def test_what_is_written_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, facts: dict[str, Any], text: str
) -> None:
    """Any facts about the training are read back, or refused before a file is made."""
    original = model_file(text)
    original.training = facts
    path = tmp_path_factory.mktemp("written") / "m.safetensors"
    numbers = [facts[name] for name in NUMBERS if name in facts]
    if all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        read = ModelFile.read(original.write(path))
        assert (read.training, read.config, read.vocabulary) == (facts, original.config, original.vocabulary)
    else:
        with pytest.raises(ModelFileError, match="is not a number"):
            original.write(path)
        assert not path.exists()


def test_a_model_to_share_has_names_for_paths(tmp_path: Path) -> None:
    facts = {
        "data": "/home/ann/garden/",
        "init_from": "C:\\Users\\ann\\runs\\rose",
        "step": 3,
        "torch7": {"opt": {"data_dir": "/home/ann/data", "checkpoint_dir": "/home/ann/cv", "rnn_size": 8.0}},
    }
    config = Config.model_validate(
        {
            "data": {"data_dir": ["/home/ann/a.txt", "/home/ann/b.txt"], "cache_dir": "/home/ann/cache"},
            "logging": {"log_dir": "/home/ann/logs", "checkpoint_dir": "/home/ann/runs"},
        }
    )
    model = model_file()
    shared = ModelFile(config, model.vocabulary, model.tensors, facts).without_paths()
    assert shared.training == {
        "data": "garden",
        "init_from": "rose",
        "step": 3,
        "torch7": {"opt": {"data_dir": "data", "checkpoint_dir": "cv", "rnn_size": 8.0}},
    }
    assert shared.config.data.data_dir == "garden"
    assert b"ann" not in shared.write(tmp_path / "m.safetensors").read_bytes()


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = model_file().write(tmp_path / "m.safetensors")
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError("disk full")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="needs the permissions of POSIX")
def test_a_file_keeps_its_permissions_and_a_new_one_has_the_usual(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(b"first")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o640
    for mode in (0o600, 0o444, 0o664):
        path.chmod(mode)
        with replacing(path) as temporary:
            assert temporary.stat().st_mode & 0o077 == 0
            temporary.write_bytes(oct(mode).encode())
        assert (path.stat().st_mode & 0o7777, path.read_bytes()) == (mode, oct(mode).encode())


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing, replacing(tmp_path / "no" / "a.txt") as temporary:
        temporary.write_bytes(b"text")
    assert missing.value.filename == str(tmp_path / "no" / "a.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as folder, replacing(tmp_path / "folder") as temporary:
        temporary.write_bytes(b"text")
    assert (folder.value.filename, folder.value.filename2) == (str(tmp_path / "folder"), None)
    with pytest.raises(OSError, match="full") as full, replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "full")
    assert full.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(PermissionError) as other, replacing(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "refused", "other.txt")
    assert other.value.filename == "other.txt"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_run_folder_means_its_best_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model in this folder"):
        find_model(tmp_path)
    (tmp_path / "last.safetensors").touch()
    assert find_model(tmp_path).name == "last.safetensors"
    (tmp_path / "best.safetensors").touch()
    assert find_model(tmp_path).name == "best.safetensors"
    with pytest.raises(FileNotFoundError, match="nowhere: no such model file or run folder"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"anna/poem: .* run folder; for a model on the Hub, write hf://anna/poem$"
    ):
        find_model("anna/poem")


def test_another_programs_safetensors(tmp_path: Path) -> None:
    save_file({"x": np.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError, match="not one of char-rnn"):
        ModelFile.read(tmp_path / "x.safetensors")


def rewritten(tmp_path: Path, **metadata: str | None) -> Path:
    """Write a model file with some of its metadata changed or removed."""
    path = model_file().write(tmp_path / "m.safetensors")
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {
        name: value for name, value in {**header["__metadata__"], **metadata}.items() if value is not None
    }
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data[8 + length :])
    return path


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format_version": str(FORMAT_VERSION + 1)}, "written by a later char-rnn"),
        ({"format_version": "one"}, "format version 'one' is not a number"),
        ({"format": "piano"}, "not one of char-rnn"),
        ({"config": None}, "damaged .missing 'config'"),
        ({"config": "{"}, "description of the model is damaged"),
        (
            {"config": '{"model": {"type": "transformer"}}'},
            r"unknown cell 'transformer' \(known: gru, lstm, m.*, rnn, slstm\).* import the module that defines it",
        ),
        ({"config": "[" * 100_000}, "description of the model is damaged"),
        ({"vocabulary": '{"kind": "characters", "symbols": []}'}, "description of the model is damaged"),
        ({"vocabulary": "7"}, "description of the model is damaged"),
        ({"training": "[]"}, "training is not a table"),
    ],
)
def test_damaged_metadata(tmp_path: Path, metadata: dict[str, str | None], message: str) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        ModelFile.read(rewritten(tmp_path, **metadata))
    assert "\n" not in str(caught.value)
    assert "m.safetensors" in str(caught.value)


def test_a_model_trained_with_removed_settings_opens(tmp_path: Path) -> None:
    training = {"random_segments": True, "averaging": "nt-asgd", "averaging_patience": 3}
    read = ModelFile.read(rewritten(tmp_path, config=json.dumps({"training": training})))
    assert read.config.training.averaging == "polyak"


def test_half_precision_of_another_kind_is_named(tmp_path: Path) -> None:
    header = json.dumps(
        {"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}, "__metadata__": {"format": "char-rnn"}}
    ).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    with pytest.raises(ModelFileError, match=r"m\.safetensors"):
        ModelFile.read(path)


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_any_damaged_file_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut short, or bytes changed anywhere: its own error, or a file that still reads; nothing else."""
    path = tmp_path_factory.mktemp("damaged") / "m.safetensors"
    whole = bytearray(model_file().write(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        ModelFile.read(path)
    except ModelFileError as error:
        assert "\n" not in str(error)


def test_the_header_tells_all_but_the_weights(tmp_path: Path) -> None:
    original = model_file()
    header = ModelHeader.read(original.write(tmp_path / "m.safetensors"))
    assert (header.config, header.vocabulary) == (original.config, original.vocabulary)
    assert header.training == original.training
    assert header.shapes == {"lstm.weight_hh_l0": (4, 3), "output_proj.bias": (3,), "scale": ()}
    assert header.parameters == 12 + 3 + 1


@pytest.mark.parametrize("metadata", [{"format": "piano"}, {"config": "{"}, {"training": "[]"}])
def test_the_header_is_refused_in_the_same_words(tmp_path: Path, metadata: dict[str, str | None]) -> None:
    path = rewritten(tmp_path, **metadata)
    messages = []
    for kind in (ModelFile, ModelHeader):
        with pytest.raises(ModelFileError) as caught:
            kind.read(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="not a model file, or cut short"):
        ModelHeader.read(path)
