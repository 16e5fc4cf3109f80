"""``char-rnn export``: a file where it was asked for, and one line where there can be none."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_helpers import Command, loaded
from made_checkpoints import simple_checkpoint
from t7_writer import dump

from char_rnn.model_file import ModelFile


def test_html(char_rnn: Command, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = char_rnn("export", run_folder, "--format", "html")
    page = Path("poem.html").read_text("utf-8")
    assert (done.status, done.out) == (0, "")
    assert done.err == f"wrote poem.html ({len(page.encode()):,} bytes)\n"
    assert "<title>poem</title>" in page
    words = ("--title", "Roses & violets", "--description", "<b>Sweet</b>")
    assert char_rnn("export", run_folder / "best.safetensors", "a.html", *words, "-q").err == ""
    page = Path("a.html").read_text("utf-8")
    assert "<title>Roses &amp; violets</title>" in page
    assert "&lt;b&gt;Sweet&lt;/b&gt;" in page
    assert '"name":"poem"' in page


def test_torch(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    done = char_rnn("export", run_folder, tmp_path / "weights.pt")
    file = ModelFile.read(run_folder)
    size = file.vocabulary.size
    assert done.err.startswith(f"wrote {tmp_path / 'weights.pt'} (")
    assert done.err.endswith(
        f" bytes); it loads into nn.Embedding({size}, {size}), nn.LSTM({size}, 8, 1), nn.Linear(8, {size})\n"
    )
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert {name: tensor.numpy().tobytes() for name, tensor in state.items()} == {
        name: tensor.tobytes() for name, tensor in file.tensors.items()
    }


def test_onnx(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    assert char_rnn("export", run_folder, tmp_path / "poem.onnx").status == 0
    model = onnx.load(str(tmp_path / "poem.onnx"))
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["vocabulary"] == ModelFile.read(run_folder).vocabulary.to_dict()


def test_a_checkpoint_of_2015(char_rnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lm_lstm_epoch1.25_2.7500.t7").write_bytes(dump(simple_checkpoint()))
    for kind, name in (("html", "html"), ("torch", "pt")):
        assert char_rnn("export", "lm_lstm_epoch1.25_2.7500.t7", "--format", kind).status == 0
        assert Path(f"lm_lstm_epoch1.25_2.7500.{name}").stat().st_size


def test_it_replaces_a_file_only_when_told(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "poem.html"
    out.write_bytes(b"precious")
    done = char_rnn("export", run_folder, out)
    assert done.status == 2
    assert f"{out}: exists already; give another name, or --force to replace it" in done.err
    assert out.read_bytes() == b"precious"
    assert char_rnn("export", run_folder, out, "--force").status == 0
    assert out.read_bytes().startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --format (html, onnx, torch), or an OUT that ends in .html, .onnx or .pt"),
        (["poem"], "give --format (html, onnx, torch), or an OUT that ends in .html, .onnx or .pt"),
        (["poem.gguf"], "give --format (html, onnx, torch), or an OUT that ends in .html, .onnx or .pt"),
        (["--format", "gguf"], "'gguf' is not one of 'html', 'onnx', 'torch'"),
        (["poem.html", "--format", "onnx"], "poem.html: must end in .onnx"),
        (["poem.onnx", "--format", "torch"], "poem.onnx: must end in .pt or .pth"),
        (["folder.html"], "folder.html: is a folder"),
        (["folder.html", "--force"], "folder.html: is a folder"),
        (["no/poem.html"], "no: no such folder"),
        (["poem.pt", "--title", "A"], "--title and --description need --format html"),
    ],
)
def test_bad_input(
    char_rnn: Command,
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    assert char_rnn("export", run_folder, *arguments).refused(2, message)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_no_model(char_rnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = char_rnn("export", "nowhere", "--format", "html")
    assert (done.status, done.err) == (2, "error: nowhere: no such model file or run folder\n")
    Path("text.safetensors").write_bytes(b"no model")
    done = char_rnn("export", "text.safetensors", "--format", "html")
    assert done.status == 1
    assert done.err.startswith("error: text.safetensors: not a model file, or cut short")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
@pytest.mark.parametrize("ending", ["html", "onnx", "pt"])
def test_a_model_that_has_diverged(
    char_rnn: Command, run_folder: Path, tmp_path: Path, value: float, ending: str
) -> None:
    if ending == "onnx":
        pytest.importorskip("onnx", reason="needs onnx")
    file = ModelFile.read(run_folder)
    file.tensors["output_proj.bias"] = file.tensors["output_proj.bias"].astype("float64")
    file.tensors["output_proj.bias"][1] = value
    path = file.write(tmp_path / "model.safetensors")
    done = char_rnn("export", path, tmp_path / f"model.{ending}")
    if ending == "pt" and value == -1e300:  # which keeps float64
        assert done.status == 0
        return
    message = "error: weights: output_proj.bias contains NaN or infinity; the model's training has diverged\n"
    assert (done.status, done.err) == (1, message)
    assert not (tmp_path / f"model.{ending}").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that this user cannot write to")
def test_a_folder_that_cannot_be_written(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for name in ("a.html", "a.pt"):
        done = char_rnn("export", run_folder, tmp_path / name)
        assert (done.status, done.err) == (1, f"error: {tmp_path / name}: permission denied\n")
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(char_rnn: Command, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "poem.html"
    (tmp_path / f".poem.html.{os.getpid()}.tmp").symlink_to("/dev/full")
    out.write_bytes(b"precious")
    done = char_rnn("export", run_folder, out, "--force")
    assert (done.status, done.err) == (1, f"error: {out}: no space left on device\n")
    assert out.read_bytes() == b"precious"


def test_without_onnx(char_rnn: Command, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return there(name, *arguments, **options)

    there = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    done = char_rnn("export", run_folder, tmp_path / "poem.onnx")
    assert (done.status, done.err) == (1, "error: --format onnx needs onnx: pip install 'char-rnn-pytorch[onnx]'\n")
    assert not (tmp_path / "poem.onnx").exists()


@pytest.mark.slow
def test_pages_and_graphs_are_made_without_torch(run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx")
    for name in ("a.html", "a.onnx"):
        assert loaded(["torch"], "export", run_folder, tmp_path / name) == []
