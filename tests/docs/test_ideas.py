"""The drawings of the ideas run, and their numbers are those of independent computations."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from char_rnn import CharGRU, CharLSTM, CharRNN, Corpus, ModelFile, build_model
from char_rnn.utils.config import config_from_dict

IDEAS = Path(__file__).parents[2] / "docs" / "ideas"
TEXT = 'He said "go on" and (so) left.\n  Then "no", she said (twice), "no."\n' * 60


def _module(name: str) -> ModuleType:
    sys.path.insert(0, str(IDEAS))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(IDEAS))


@pytest.fixture
def subject(tmp_path: Path) -> tuple[str, str]:
    """A model of random weights, with matches as in the recipes, and the file of its text."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    vocabulary = Corpus.from_text(TEXT).vocabulary
    model = {"type": "slstm", "hidden_size": 8, "num_layers": 1, "match_lengths": [2, 3], "match_window": 64}
    data = {"data_dir": str(text), "train_frac": 0.5, "val_frac": 0.5}
    config = config_from_dict({"model": model, "data": data}, "test")
    torch.manual_seed(0)
    tensors = {name: of.numpy() for name, of in build_model(config.model, vocabulary.size).state_dict().items()}
    return str(ModelFile(config, vocabulary, tensors).write(tmp_path / "model.safetensors")), str(text)


@pytest.mark.parametrize(
    ("idea", "pictures", "said"),
    [
        ("state", ["state.svg"], "never"),
        ("backpropagation", ["backpropagation.svg"], "    k"),
        ("temperature", ["temperature-bars.svg", "temperature.svg"], "held out"),
        ("cells", ["cells-tiny.svg"], "quotes"),
    ],
)
def test_each_drawing(
    idea: str, pictures: list[str], said: str, subject: tuple[str, str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, _ = subject
    sizes = ["--characters", "1000" if idea == "state" else "5000", "--sequences", "3", "--back", "16"]
    sizes += ["--samples", "2", "--length", "60", "--prime", "He s", "--name", "tiny"]
    _module("draw").main([idea, model, "--out", str(tmp_path), *sizes])  # the text of the model
    assert said in capsys.readouterr().out
    for picture in pictures:
        assert "<svg" in (tmp_path / picture).read_text(encoding="utf-8")


def _ids(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 7, count)


def _loop(model: CharLSTM, ids: Any, every: int | None) -> list[float]:
    hidden, losses = None, []
    for place, (now, following) in enumerate(pairwise(ids.tolist())):
        if every and place % every == 0:
            hidden = None
        with torch.inference_mode():
            log_probs, hidden = model(torch.tensor([[now]]), hidden)
        losses.append(-float(log_probs[0, 0, following]))
    return losses


def test_losses_are_those_of_a_loop_over_the_characters() -> None:
    state = _module("state")
    torch.manual_seed(0)
    model, ids = CharLSTM(7, 6, 2).eval(), _ids(41)
    np.testing.assert_allclose(state.carried_losses(model, ids), _loop(model, ids, None), atol=1e-5)
    np.testing.assert_allclose(state.reset_losses(model, ids, 8).ravel(), _loop(model, ids, 8), atol=1e-5)


def test_carrying_helps_a_model_of_a_text_that_needs_it() -> None:
    state = _module("state")
    ids = np.tile([0, 1, 0, 2], 200)  # what follows a 0 is told by the character before it alone
    torch.manual_seed(0)
    model = CharLSTM(3, 12, 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    x, y = torch.from_numpy(ids[:-1])[None], torch.from_numpy(ids[1:])
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(model(x)[0][0], y).backward()
        optimizer.step()
    model.eval()
    assert state.carried_losses(model, ids).mean() < 0.1
    assert state.reset_losses(model, ids, 2)[:, 0].mean() > 0.3


@pytest.mark.parametrize("kind", [CharLSTM, CharGRU, CharRNN])
def test_gradient_norms_are_those_of_differences(kind: type[CharLSTM | CharGRU | CharRNN]) -> None:
    norms = _module("backpropagation").gradient_norms
    torch.manual_seed(0)
    model, ids, back = kind(7, 3, 1).double().eval(), _ids(16).reshape(2, 8), 4
    found = norms(model, ids, back)
    x = torch.from_numpy(ids)
    for k in range(1, back + 1):
        state = model(x[:, : -k - 1])[1]
        parts = [state] if isinstance(state, torch.Tensor) else list(state)
        squares = np.zeros(2)
        for part in parts:
            for unit in range(3):
                losses = []
                for step in (1e-6, -1e-6):
                    moved = [other.detach().clone() for other in parts]
                    moved[[part is other for other in parts].index(True)][0, :, unit] += step
                    hidden = moved[0] if len(moved) == 1 else tuple(moved)
                    log_probs = model(x[:, -k - 1 : -1], hidden)[0][:, -1]
                    losses.append(-log_probs.gather(1, x[:, -1:])[:, 0].detach().numpy())
                squares += ((losses[0] - losses[1]) / 2e-6) ** 2
        np.testing.assert_allclose(found[:, k - 1], np.sqrt(squares), rtol=1e-5)


def test_entropy_and_repetition() -> None:
    temperature, engines = _module("temperature"), pytest.importorskip("char_rnn.generation.engine")
    config = config_from_dict({"model": {"hidden_size": 4, "num_layers": 1}}, "test").model
    tensors = {name: np.zeros_like(of.numpy()) for name, of in build_model(config, 8).state_dict().items()}
    assert temperature.entropy(engines.Engine(config, tensors), [np.arange(8), np.arange(8)], 0.5) == pytest.approx(3)
    assert temperature.repeated("abcdabcd", 4) == pytest.approx(1 / 5)
    assert temperature.words("Go on, you! an") == ["Go", "on", "you"]


def test_a_cell_is_what_the_engine_holds(subject: tuple[str, str]) -> None:
    reading, cells = _module("reading"), _module("cells")
    opened = reading.Subject.of(*subject)
    found = cells.measure(opened, 1200, seed=0)
    model, ids = opened.module(), opened.held_out(1200)
    best = found["scored"][0]
    output = model.with_activations(torch.from_numpy(ids)[None])[2].output[0].detach().numpy()
    np.testing.assert_allclose(found["held"][:, 0], output[600:], atol=1e-5)
    feature = cells.FEATURES[best.cell.tracks](found["text"])
    assert best.again == pytest.approx(np.corrcoef(feature, output[600:, best.cell.index])[0, 1], abs=1e-4)
    assert max(abs(of.cell.correlation) for of in found["scored"]) <= 1


def test_one_model_at_a_time(subject: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _module("draw").main(["state", subject[0], subject[0], "--text", subject[1]])
    assert stop.value.code == 2


def test_an_error_is_one_line(subject: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _module("draw").main(["state", subject[0], "--text", "no-such.txt", "--out", str(tmp_path)])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "no-such.txt" in error
    assert error.count("\n") == 1
