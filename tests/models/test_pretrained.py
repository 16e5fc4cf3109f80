"""from_pretrained, save_pretrained and push_to_hub, as huggingface_hub's mixin classes have them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import TOKEN, Hub
from model_cases import CELLS, OPTIONS

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models import CharGRU, CharLSTM, CharModel, build_model
from char_rnn.utils.config import Config, ModelConfig
from char_rnn.utils.model_files import ModelFileError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # by huggingface_hub
ROSES = Vocabulary.from_text("a rose\n.!")
SIZES = {"hidden_size": 6, "num_layers": 2}


def log_probs(model: CharModel) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[1, 2, 3, 1, 2]]))[0]


@pytest.mark.parametrize("case", [*CELLS, *OPTIONS], ids=lambda case: "-".join(map(str, case.values())))
def test_any_model_is_what_it_was(case: dict[str, Any], tmp_path: Path) -> None:
    config = ModelConfig(**{**SIZES, **case})
    model = build_model(config, ROSES.size)
    model.save_pretrained(tmp_path, vocabulary=ROSES)
    again = CharModel.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert not again.training
    assert torch.equal(log_probs(again), log_probs(model))
    file = ModelFile.read(tmp_path)
    assert file.config.model == config
    assert file.vocabulary == ROSES
    assert len(TextGenerator.load(tmp_path).generate("a", 9)) == 10


def test_a_file_keeps_its_configuration_but_not_its_losses(tmp_path: Path) -> None:
    config = Config(model=ModelConfig(**SIZES))
    weights = {name: tensor.numpy() for name, tensor in build_model(config.model, ROSES.size).state_dict().items()}
    config.generation.temperature = 0.5
    facts = {"step": 3, "best_val_loss": 1.5, "data": "roses"}
    ModelFile(config, ROSES, weights, facts, in_8_bits=True).write(tmp_path / "best.safetensors")
    model = CharLSTM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.output_proj.bias += 1
    model.save_pretrained(tmp_path / "changed")
    changed = ModelFile.read(tmp_path / "changed")
    assert changed.config.generation.temperature == 0.5
    assert (changed.in_8_bits, changed.training) == (False, {})
    assert torch.equal(torch.from_numpy(changed.tensors["output_proj.bias"]), model.output_proj.bias)


def test_on_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    model = CharLSTM(ROSES.size, 6, 1)
    url = model.push_to_hub("anna/rose", vocabulary=ROSES, commit_message="First", private=True)
    assert (url, hub.messages, hub.private) == (f"{hub.url}/anna/rose", ["First"], {"anna/rose"})
    first = next(name for owner, name in reversed(hub.files) if name != "main")
    model.output_proj.bias.data += 1
    assert model.save_pretrained(tmp_path / "rose", push_to_hub=True) == url, "the name of the folder, own account"
    assert sorted(hub.files["anna/rose", "main"]) == ["config.json", "model.safetensors"]
    assert torch.equal(log_probs(CharModel.from_pretrained("anna/rose")), log_probs(model))
    older = CharModel.from_pretrained("anna/rose", revision=first, token=TOKEN)
    assert torch.equal(older.output_proj.bias + 1, model.output_proj.bias)
    with pytest.raises(ValueError, match="anna/rose: a model with the cell lstm, not a CharGRU; use CharModel"):
        CharGRU.from_pretrained("hf://anna/rose")


def test_no_primes_of_the_training_text_are_pushed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    config = Config.model_validate({"model": SIZES, "generation": {"suggested_primes": ["a rose"], "temperature": 0.5}})
    weights = {name: tensor.numpy() for name, tensor in build_model(config.model, ROSES.size).state_dict().items()}
    ModelFile(config, ROSES, weights).write(tmp_path / "rose.safetensors")
    model = CharModel.from_pretrained(tmp_path / "rose.safetensors")
    model.push_to_hub("anna/rose")
    assert all(b"a rose" not in content for content in hub.files["anna/rose", "main"].values())
    assert ModelFile.read("hf://anna/rose").config.generation.temperature == 0.5
    model.save_pretrained(tmp_path / "own")
    assert ModelFile.read(tmp_path / "own").config.generation.suggested_primes == ["a rose"]
    with pytest.raises(ValueError, match="not a name of the Hub; write USER/NAME"):
        model.push_to_hub("anna/rose@v1")


def test_a_model_without_vocabulary_is_for_from_pretrained_alone(tmp_path: Path) -> None:
    CharGRU(5, 4, 1, reset="before").save_pretrained(tmp_path)
    assert CharGRU.from_pretrained(tmp_path / "model.safetensors").reset == "before"
    with pytest.raises(ModelFileError, match="missing 'vocabulary'"):
        ModelFile.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such model file or run folder"):
        CharModel.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize("method", ["from_pretrained", "save_pretrained", "push_to_hub"])
def test_the_arguments_are_those_of_the_mixin(method: str) -> None:
    mixin = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub").PyTorchModelHubMixin
    own = inspect.signature(getattr(CharModel, method)).parameters
    theirs = inspect.signature(getattr(mixin, method)).parameters
    assert next(name for name in own if name != "self") == next(name for name in theirs if name != "self")
    others = {"vocabulary", "options", "map_location"}  # map_location is an argument of the mixin's _from_pretrained
    assert set(own) - others <= set(theirs)
