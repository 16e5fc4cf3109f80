"""onnxruntime computes the same from an ONNX file as the PyTorch model, also in pieces."""

from __future__ import annotations

import builtins
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_helpers import IDS, MODELS, V, made

from char_rnn.export import onnx_model
from char_rnn.export.onnx_model import OnnxMissingError, write_onnx
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model

onnx = pytest.importorskip("onnx", reason="needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
DOCS = Path(__file__).parents[2] / "docs" / "exporting.md"


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 2
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def zeros(opened: Any, batch: int) -> dict[str, np.ndarray]:
    shapes = {part.name: part.shape for part in opened.get_inputs()[1:]}
    return {
        name: np.zeros([batch if size == "batch" else size for size in shape], np.float32)
        for name, shape in shapes.items()
    }


def read(opened: Any, ids: np.ndarray, cuts: list[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Log-probabilities (B, T, V) of texts (B, T) read in pieces, and the last state."""
    state, pieces = zeros(opened, len(ids)), []
    for piece in np.split(ids, cuts, axis=1):
        log_probs, *after = opened.run(None, {"symbols": piece, **state})
        state = dict(zip(state, after, strict=True))
        pieces.append(log_probs)
    return np.concatenate(pieces, axis=1), state


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_it_is_the_model(options: dict[str, Any], tmp_path: Path) -> None:
    file = made(**options)
    write_onnx(file, tmp_path / "model.onnx")
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    ids = np.array([IDS, IDS[::-1], IDS[4:] + IDS[:4]])
    opened = session(tmp_path / "model.onnx")
    with torch.inference_mode():
        log_probs, hidden = build_model(file.config.model, V, file.tensors).eval()(torch.tensor(ids))
    parts = [hidden] if isinstance(hidden, torch.Tensor) else list(hidden)
    for cuts in ([], [1, 2, 9]):
        found, state = read(opened, ids, cuts)
        np.testing.assert_allclose(found, log_probs.numpy(), rtol=0, atol=1e-5)
        for ours, theirs in zip(state.values(), parts, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


def test_the_operators_of_the_plain_cells_and_a_loop_for_the_others() -> None:
    def kinds(**options: Any) -> list[str]:
        graph = onnx_model.onnx_model(made(num_layers=1, **options)).graph
        return [node.op_type for node in graph.node if node.op_type in {"LSTM", "GRU", "RNN", "Scan"}]

    assert kinds() == ["LSTM"]
    assert kinds(type="gru", reset="before", attention="all") == ["GRU"]
    assert kinds(type="rnn", layer_norm="between") == ["RNN"]
    assert kinds(zoneout=0.1) == kinds(type="gru", layer_norm="cell") == kinds(mogrifier_rounds=1) == ["Scan"]


def test_weights_are_stored_once() -> None:
    file = made(tie_weights=True, hidden_size=40, mogrifier_rounds=2)
    numbers = sum(tensor.size for tensor in file.tensors.values())
    assert 4 * numbers < onnx_model.onnx_model(file).ByteSize() < 4 * numbers + 9000


def test_a_model_in_double_precision(tmp_path: Path) -> None:
    file = made(dtype=np.float64)
    write_onnx(file, tmp_path / "model.onnx")
    found, _ = read(session(tmp_path / "model.onnx"), np.array([IDS]), [])
    with torch.inference_mode():
        log_probs = build_model(file.config.model, V, file.tensors).eval()(torch.tensor([IDS]))[0]
    np.testing.assert_allclose(found, log_probs.numpy(), rtol=0, atol=1e-5)


def test_the_model_file_can_be_restored_from_metadata(tmp_path: Path) -> None:
    file = made(symbols="</script>\u2028𝔘'", training={"data": "\ud800", "step": 7})
    write_onnx(replace(file, training={"init_from": "/home/ann/rose", **file.training}), tmp_path / "model.onnx")
    file = replace(file, training={"init_from": "rose", **file.training}).without_paths()
    facts = session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(facts["vocabulary"]) == file.vocabulary.to_dict()
    assert json.loads(facts["config"]) == file.config.model_dump(mode="json")
    assert json.loads(facts["training"]) == file.training


@pytest.mark.parametrize(
    ("kind", "symbols", "written"),
    [("characters", "It wasé漢😀", "It wasé漢😀"), ("bytes", "It was\xc3\xa9", "It wasé\ufffd")],
)
def test_the_program_in_the_guide_samples(
    kind: str,
    symbols: str,
    written: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = re.search(r"```python\n(import codecs.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    write_onnx(
        made(symbols="".join(dict.fromkeys(symbols)), kind=kind, attention="all", attention_window=3),
        Path("my-book.onnx"),
    )
    np.random.seed(0)  # noqa: NPY002 (of the program's generator)
    exec(program[1], {})
    text = capsys.readouterr().out
    assert len(text) == 500 if kind == "characters" else 250 < len(text) < 500
    assert set(text) == set(written)


def test_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return there(name, *arguments, **options)

    there = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OnnxMissingError, match=r"needs onnx: pip install 'char-rnn-pytorch\[onnx\]'$"):
        write_onnx(made(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_too_large_for_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"^an ONNX file holds at most 2 GB of weights; this model has 0\.0 GB$"):
        write_onnx(made(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_of_another_model(tmp_path: Path) -> None:
    file = made()
    file = ModelFile(file.config, file.vocabulary, {**file.tensors, "more": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match=r"^weights: the model of the configuration has no parameter more"):
        write_onnx(file, tmp_path / "model.onnx")
