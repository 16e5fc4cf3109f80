"""A desk for each page, with the texts and the runs that pages speak of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from running import (
    Desk,
    Make,
    at,
    fresh_process_state,
    in_this_process,
    shortened,
    stand_ins,
    write_programs,
    write_texts,
)

TRAINED = (
    "train my-book.txt --quiet --out runs/my-book",
    "train my-book.txt --quiet --out runs/small",
    "train my-book.txt --quiet --out runs/large",
    "train tinyshakespeare --quiet --out runs/plays",
    "train tinyshakespeare --quiet --out runs/lstm",
    "train tinyshakespeare --quiet --set model.type=gru --out runs/gru",
    "train --torch7 -data_dir data/mine -checkpoint_dir cv",
)


@pytest.fixture(scope="session")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program that puts the stand-ins in their places."""
    return stand_ins(tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, preparation: str) -> Path:
    """A folder with the texts and some runs."""
    folder = tmp_path_factory.mktemp("prepared")
    write_texts(folder)
    with pytest.MonkeyPatch.context() as monkeypatch, at(folder):
        fresh_process_state(monkeypatch, preparation)
        for command in TRAINED:
            words = shortened(["char-rnn", *command.split()], folder)
            status, said = in_this_process(words[1:])
            assert status == 0, said
    shutil.copy(folder / "runs/my-book/best.safetensors", folder / "my-book.safetensors")
    shutil.copy(folder / "runs/my-book/config.yaml", folder / "my.yaml")
    return folder


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, preparation: str) -> Path:
    """A folder of programs for the shell."""
    folder = tmp_path_factory.mktemp("programs") / "bin"
    write_programs(folder, preparation)
    return folder


@pytest.fixture
def make_desk(
    tmp_path: Path, prepared: Path, programs: Path, preparation: str, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Makes the desk."""

    def make() -> Desk:
        fresh_process_state(monkeypatch, preparation)
        desk = Desk(tmp_path / "desk", prepared, programs)
        monkeypatch.chdir(desk.folder)
        return desk

    return make
