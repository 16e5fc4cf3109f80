"""PyTorch's own modules compute the model's log-probabilities from an exported state dict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_helpers import IDS, MODELS, V, config, made
from model_cases import INPUTS, Own
from torch import nn

import char_rnn
from char_rnn.export.state_dict import is_plain, loaded_by, write_state_dict
from char_rnn.generation.engine import Engine
from char_rnn.models import build_model
from char_rnn.utils.config import compose_config

DOCS = Path(__file__).parents[2] / "docs" / "exporting.md"
OF_THE_GUIDE: list[dict[str, Any]] = [
    *({"type": cell, **options} for cell in ("lstm", "gru", "rnn") for options in (*INPUTS, {"tie_weights": True})),
    {"layer_norm": "between", "num_layers": 3},
    compose_config("quickstart", overrides=["model.type=lstm", "model.match_lengths=[]"]).model.model_dump(),
]
PLAIN = [options for options in MODELS if is_plain(config(**options))]


class ByHand(nn.Module):
    """The model in plain PyTorch."""

    def __init__(self, kind: str, inputs: int, one_hot: bool) -> None:
        super().__init__()
        if not one_hot:
            self.embedding = nn.Embedding(V, inputs)
        self.add_module(kind, getattr(nn, kind.upper())(inputs, 6, 2, batch_first=True))
        self.kind = kind
        self.output_proj = nn.Linear(6, V)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) if hasattr(self, "embedding") else nn.functional.one_hot(ids, V).float()
        return self.output_proj(self.get_submodule(self.kind)(x)[0]).log_softmax(-1)


def predicted(settings: Any, tensors: dict[str, np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return build_model(settings, V, tensors).eval()(torch.tensor([IDS]))[0].numpy()


@pytest.mark.parametrize("options", PLAIN, ids=str)
def test_plain_models_load_into_pytorchs_modules(options: dict[str, Any], tmp_path: Path) -> None:
    file = made(**options)
    write_state_dict(file, tmp_path / "model.pt")
    settings = file.config.model
    modules = ByHand(settings.type, settings.input_size(V), settings.embedding == "one-hot")
    modules.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), strict=True)
    with torch.inference_mode():
        log_probs = modules(torch.tensor([IDS])).numpy()
    np.testing.assert_allclose(log_probs, predicted(settings, file.tensors), rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", OF_THE_GUIDE, ids=lambda each: "quickstart" if len(each) > 5 else str(each))
def test_the_module_in_the_guide_computes_what_the_engine_does(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made(**options, scale=0.3)
    monkeypatch.chdir(tmp_path)
    write_state_dict(file, "weights.pt")
    program = re.search(r"```python\n(import re\n.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert program is not None
    names: dict[str, Any] = {}
    exec(program[1], names)
    streams = Engine(file.config.model, file.tensors, "float64").begin()
    expected = np.concatenate([streams.step([index]) for index in IDS])
    with torch.inference_mode():
        first, hidden = names["model"](torch.tensor([IDS[:5]]))
        rest, _ = names["model"](torch.tensor([IDS[5:]]), hidden)
    np.testing.assert_allclose(torch.cat([first, rest], 1)[0].numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_the_named_module_loads_it(options: dict[str, Any], tmp_path: Path) -> None:
    file = made(**options)
    settings = file.config.model
    write_state_dict(file, tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    said = loaded_by(settings, V)
    if is_plain(settings):
        assert said.startswith("nn.")
        assert len(eval(f"({said.removesuffix(', of one-hot vectors')})")) == (2 if "one-hot" in said else 3)
        return
    model = eval(said, {"char_rnn": char_rnn, "Own": Own}).eval()
    model.load_state_dict(state, strict=True)
    with torch.inference_mode():
        log_probs = model(torch.tensor([IDS]))[0].numpy()
    np.testing.assert_allclose(log_probs, predicted(settings, file.tensors), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nn.Embedding(11, 11), nn.LSTM(11, 6, 2), nn.Linear(6, 11)"),
        ({"type": "gru", "embedding": "one-hot"}, "nn.GRU(11, 6, 2), nn.Linear(6, 11), of one-hot vectors"),
        ({"type": "rnn", "embedding_size": 3}, "nn.Embedding(11, 3), nn.RNN(3, 6, 2), nn.Linear(6, 11)"),
        ({"type": "gru", "reset": "before"}, "char_rnn.CharGRU(11, 6, 2, reset='before')"),
        ({"zoneout": 0.25, "dropout": 0.5}, "char_rnn.CharLSTM(11, 6, 2, zoneout=0.25)"),
        ({"type": "own", "embedding_size": 4}, "char_rnn.CharModel(11, 6, 2, cell=Own(), embedding_size=4)"),
        ({"type": "slstm"}, "char_rnn.CharModel(11, 6, 2, cell=char_rnn.cells.SLSTM())"),
        ({"type": "mingru"}, "char_rnn.CharModel(11, 6, 2, cell=char_rnn.cells.MinGRU())"),
        ({"attention_window": 9, "reset": "before"}, "nn.Embedding(11, 11), nn.LSTM(11, 6, 2), nn.Linear(6, 11)"),
    ],
    ids=str,
)
def test_names_of_modules(options: dict[str, Any], words: str) -> None:
    assert loaded_by(config(**options), V) == words


def test_tensors_alone_in_their_own_precision(tmp_path: Path) -> None:
    file = made(dtype=np.float64)
    write_state_dict(file, tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert type(state) is dict
    assert {name: tensor.numpy().tobytes() for name, tensor in state.items()} == {
        name: array.tobytes() for name, array in file.tensors.items()
    }
    first = (tmp_path / "model.pt").read_bytes()
    write_state_dict(file, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_weights_of_another_model_leave_the_old_file(tmp_path: Path) -> None:
    file = made()
    del file.tensors["output_proj.bias"]
    (tmp_path / "model.pt").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"^weights: output_proj\.bias is missing"):
        write_state_dict(file, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == b"precious"
