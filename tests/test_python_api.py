"""Training in one call from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import char_rnn
from char_rnn.cli import main
from char_rnn.utils.config import ConfigError

SETTINGS = {
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
def book(tmp_path: Path) -> Path:
    path = tmp_path / "my-book.txt"
    path.write_text("The rose is red, the violet blue.\n" * 60)
    return path


def test_one_call_is_the_command(book: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    ours = char_rnn.train(book, tmp_path / "a", recipe="names", settings=SETTINGS, callbacks=())
    assert capfd.readouterr() == ("", "")
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    with pytest.raises(SystemExit):
        main(["train", str(book), "--recipe", "names", "--out", str(tmp_path / "b"), "--quiet", *sets])
    torch.set_num_threads(threads)
    assert ours.folder == tmp_path / "a"
    assert ours.result.step == 3
    theirs = char_rnn.ModelFile.read(tmp_path / "b" / "best.safetensors")
    for name, tensor in char_rnn.ModelFile.read(ours.folder / "best.safetensors").tensors.items():
        np.testing.assert_array_equal(tensor, theirs.tensors[name])


def test_one_call_starts_from_a_model_and_shows_progress(
    book: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = char_rnn.train(book, tmp_path / "a", settings=SETTINGS, callbacks=())
    training = {key: value for key, value in SETTINGS.items() if not key.startswith("model.")}
    second = char_rnn.train(book, tmp_path / "b", settings=training, init_from=first.folder)
    assert second.result.best_val_loss < first.result.best_val_loss
    assert "val" in capfd.readouterr().err


def test_one_call_refuses_bad_input(book: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^settings: model\.hiden_size: .*hidden_size"):
        char_rnn.train(book, settings={"model.hiden_size": 8})
    with pytest.raises(ConfigError, match=r"^settings: hidden_size"):
        char_rnn.train(book, settings={"hidden_size": 8})
    with pytest.raises(ConfigError, match="recipe"):
        char_rnn.train(book, recipe="nothing")
    with pytest.raises((ValueError, OSError), match="nowhere"):
        char_rnn.train(tmp_path / "nowhere.txt", tmp_path / "a", settings=SETTINGS)


def test_one_call_reads_several_texts(book: Path, tmp_path: Path) -> None:
    trained = char_rnn.train([book, str(book.parent)], tmp_path / "run", settings=SETTINGS, callbacks=())
    assert char_rnn.load_config(trained.folder / "config.yaml").data.data_dir == [str(book), str(book.parent)]


def test_a_text_instead_of_a_path_is_refused_briefly(book: Path) -> None:
    with pytest.raises(ValueError, match="looks like a text, not a path") as caught:
        char_rnn.train(book.read_text() * 20, settings=SETTINGS)
    assert len(str(caught.value)) < 200
