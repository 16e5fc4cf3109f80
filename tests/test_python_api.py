"""Training in one call from Python: its text, its interruption, and its display in a notebook."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from base64 import b64decode
from hashlib import sha256
from html import escape, unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from processes import disposition

import char_rnn
from char_rnn.api import in_notebook
from char_rnn.cli import main
from char_rnn.data import DataError
from char_rnn.training import Callback, CharRNNTrainer
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


def same_model(*folders: Path) -> bool:
    one, other = (char_rnn.ModelFile.read(folder / "last.safetensors").tensors for folder in folders)
    return all(np.array_equal(tensor, other[name]) for name, tensor in one.items())


class StopAt(Callback):
    """Sends a signal at a step."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        if trainer.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("vocabulary", ["characters", "bytes"])
def test_a_text_itself_is_trained_on_as_its_file(vocabulary: str, tmp_path: Path) -> None:
    text = "Die Rose ist rot,\r\ndas Veilchen ist blau & <grün>.\n" * 60
    (tmp_path / "text.txt").write_bytes(text.encode())
    settings = {**SETTINGS, "data.vocabulary": vocabulary}
    own = char_rnn.train(text=text, folder=tmp_path / "a", settings=settings, callbacks=())
    file = char_rnn.train(tmp_path / "text.txt", tmp_path / "b", settings=settings, callbacks=())
    assert same_model(own.folder, file.folder)
    training = char_rnn.ModelFile.read(own.folder).training
    assert (training["data"], training["data_sha256"]) == ("text", sha256(text.encode()).hexdigest())
    assert training["characters"] == len(text if vocabulary == "characters" else text.encode())
    assert text[:20] not in (own.folder / "config.yaml").read_text()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_run_is_saved_and_resumes_with_its_text(
    book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text, settings = book.read_text(), {**SETTINGS, "training.max_steps": 6}
    whole = char_rnn.train(text=text, folder=tmp_path / "whole", settings=settings, callbacks=())
    with disposition(False, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        char_rnn.train(text=text, folder=tmp_path / "run", settings=settings, callbacks=[StopAt(2)])
    assert "stopping after this step" in capfd.readouterr().err
    with pytest.raises(SystemExit) as ended:
        char_rnn.train(text=text, resume=tmp_path / "run", callbacks=[StopAt(3, signal.SIGTERM)])
    assert ended.value.code == 128 + signal.SIGTERM
    with monkeypatch.context() as notebook:
        notebook.setattr("char_rnn.api.in_notebook", lambda: True)
        with disposition(False, signal.SIGINT):
            stopped = char_rnn.train(text=text, resume=tmp_path / "run", callbacks=[StopAt(4)])
    assert (stopped.result.step, stopped.result.stopped) == (4, True)
    assert stopped._next() == f"char_rnn.train(text=..., resume={str(tmp_path / 'run')!r})"
    with pytest.raises(DataError, match=r"^the text of this run was given as char_rnn.* or as a file$"):
        char_rnn.train(resume=stopped.folder)
    with pytest.raises(ValueError, match="another text"):
        char_rnn.train(text=text + "!", resume=stopped.folder)
    resumed = char_rnn.train(text=text, resume=stopped.folder, callbacks=())
    assert (resumed.result.step, resumed.result.stopped) == (6, False)
    assert same_model(whole.folder, resumed.folder)


def test_a_run_on_a_file_is_resumed_on_it_and_can_be_extended(book: Path, tmp_path: Path) -> None:
    whole = char_rnn.train(book, tmp_path / "a", settings={**SETTINGS, "training.max_steps": 5}, callbacks=())
    short = char_rnn.train(book, tmp_path / "b", settings=SETTINGS, callbacks=())
    longer = char_rnn.train(resume=short.folder, settings={"training.max_steps": 5}, callbacks=())
    assert longer.result.step == 5
    assert same_model(whole.folder, longer.folder)


def test_a_vocabulary_grows_by_a_text_itself(book: Path, tmp_path: Path) -> None:
    first = char_rnn.train(book, tmp_path / "a", settings=SETTINGS, callbacks=())
    training = {key: value for key, value in SETTINGS.items() if not key.startswith("model.")}
    given: dict[str, Any] = {"text": book.read_text() + "Ω", "settings": training, "init_from": first.folder}
    with pytest.raises(ValueError, match="Ω"):
        char_rnn.train(folder=tmp_path / "b", **given)
    grown = char_rnn.train(folder=tmp_path / "c", grow_vocabulary=True, callbacks=(), **given)
    before, after = (char_rnn.ModelFile.read(run.folder).vocabulary.symbols for run in (first, grown))
    assert after == (*before, ord("Ω"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give one of data, the path or the name of a text, and text, a text itself"),
        ({"data": "a.txt", "text": "a rose"}, "give one of data"),
        ({"text": "a rose", "settings": {"data.data_dir": "a.txt"}}, "give one of data"),
        ({"text": b"a rose"}, r"text: must be a text; given b'a rose'"),
        ({"text": ""}, "text: is empty"),
        ({"text": "README.md"}, "text: 'README.md' is a path; give it as data"),
        ({"text": "a rose"}, "the text has 6 characters|give more text"),
        ({"resume": "nowhere"}, "nowhere: nothing to resume here"),
        ({"resume": "nowhere", "recipe": "tiny"}, "resume uses the settings of the run: leave out folder, recipe"),
    ],
)
def test_one_line_for_bad_texts(
    given: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").touch()
    with pytest.raises(ValueError, match=message) as refused:
        char_rnn.train(**given)
    assert "\n" not in str(refused.value)


def test_a_notebook_shows_the_losses_a_sample_and_the_next_call(book: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a<b>&'c'"
    run = char_rnn.train(book, folder, settings=SETTINGS, callbacks=())
    facts = f"Trained {folder}: 3 steps in 0.0 minutes; best validation loss {run.result.best_val_loss:.4f} at step 3"
    assert repr(run) == f"<{facts}>"
    html = run._repr_html_()
    assert html is not None
    assert html == run._repr_html_()
    assert "<b>&'" not in html
    assert f"<p>{escape(facts)}</p>" in html
    assert b64decode(re.findall('src="data:image/png;base64,([^"]+)"', html)[0]).startswith(b"\x89PNG")
    losses = rf"last losses, in nats per character: train \d\.\d{{4}}, val {run.result.best_val_loss:.4f}<"
    assert re.search(losses, html)
    assert char_rnn.TextGenerator.load(folder)._repr_html_() in html
    call = unescape(re.findall("write more: <code>(.*)</code>", html)[0])
    assert len(eval(call, {"char_rnn": char_rnn})) == 500
    shutil.rmtree(folder)
    assert run._repr_html_() is None


def test_a_kernel_is_a_notebook_and_other_programs_of_ipython_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    for shell, expected in ((None, False), (object(), False), (SimpleNamespace(kernel=object()), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert in_notebook() == expected
