"""A training in one call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import char_rnn
from char_rnn.cli import main
from char_rnn.utils.config import ConfigError

SMALL = {
    "model.hidden_size": 8,
    "training.batch_size": 4,
    "training.seq_length": 10,
    "training.max_steps": 3,
    "device.preferred": "cpu",
    "device.threads": 1,
    "training.precision": "float32",
    "logging.sample_length": 0,
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "my-book.txt"
    path.write_text("The rose is red, the violet blue.\n" * 60)
    return path


def test_it_is_the_command(text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    ours = char_rnn.train(text, tmp_path / "a", recipe="names", settings=SMALL, callbacks=())
    assert capfd.readouterr() == ("", "")
    sets = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    with pytest.raises(SystemExit):
        main(["train", str(text), "--recipe", "names", "--out", str(tmp_path / "b"), "--quiet", *sets])
    torch.set_num_threads(threads)
    assert ours.folder == tmp_path / "a"
    assert ours.result.step == 3
    theirs = char_rnn.ModelFile.read(tmp_path / "b" / "best.safetensors")
    for name, tensor in char_rnn.ModelFile.read(ours.folder / "best.safetensors").tensors.items():
        np.testing.assert_array_equal(tensor, theirs.tensors[name])


def test_it_goes_on_from_a_model_and_says_how_far_it_is(
    text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = char_rnn.train(text, tmp_path / "a", settings=SMALL, callbacks=())
    training = {key: value for key, value in SMALL.items() if not key.startswith("model.")}
    second = char_rnn.train(text, tmp_path / "b", settings=training, init_from=first.folder)
    assert second.result.best_val_loss < first.result.best_val_loss
    assert "val" in capfd.readouterr().err


def test_bad_input(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^settings: model\.hiden_size: .*hidden_size"):
        char_rnn.train(text, settings={"model.hiden_size": 8})
    with pytest.raises(ConfigError, match=r"^settings: hidden_size"):
        char_rnn.train(text, settings={"hidden_size": 8})
    with pytest.raises(ConfigError, match="recipe"):
        char_rnn.train(text, recipe="nothing")
    with pytest.raises((ValueError, OSError), match="nowhere"):
        char_rnn.train(tmp_path / "nowhere.txt", tmp_path / "a", settings=SMALL)


def test_several_texts(text: Path, tmp_path: Path) -> None:
    trained = char_rnn.train([text, str(text.parent)], tmp_path / "run", settings=SMALL, callbacks=())
    assert char_rnn.load_config(trained.folder / "config.yaml").data.data_dir == [str(text), str(text.parent)]


def test_a_text_in_place_of_a_path_is_refused_in_short(text: Path) -> None:
    with pytest.raises(ValueError, match="looks like a text, not a path") as caught:
        char_rnn.train(text.read_text() * 20, settings=SMALL)
    assert len(str(caught.value)) < 200
