"""A way to call the command line, and a tiny model to call it on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_helpers import SMALL, TEXT, Command, Outcome

from char_rnn.cli import main


@pytest.fixture
def char_rnn(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        sys.stdout.flush()
        captured = capfd.readouterr()
        status = stop.value.code
        assert isinstance(status, int)
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def whole_sample() -> None:
    """The sample of a finished run in its real length."""


@pytest.fixture(autouse=True)
def _short_sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of 600 characters takes most of the time of a small run."""
    if "whole_sample" not in request.fixturenames:
        monkeypatch.setattr("char_rnn.cli.train.SAMPLE_LENGTH", 60)


@pytest.fixture(scope="session")
def poem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file."""
    path = tmp_path_factory.mktemp("texts") / "poem.txt"
    path.write_bytes(TEXT.encode())
    return path


@pytest.fixture(scope="session")
def run_folder(poem: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run on the poem; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "poem"
    cache = tmp_path_factory.mktemp("cache")
    with pytest.raises(SystemExit) as stop:
        main(
            ["train", str(poem), "--out", str(folder), *SMALL, "--set", f"data.cache_dir={cache}", "--quiet",
             "--set", "training.max_steps=60", "--set", "data.train_frac=0.8", "--set", "data.val_frac=0.1"]
        )  # fmt: skip
    assert stop.value.code == 0
    return folder
