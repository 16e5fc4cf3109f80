"""Fixtures that watch which files are read, and that trust their times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from char_rnn.data import corpus as corpus_module
from char_rnn.data import reading
from char_rnn.data.text_files import TextFile


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of files that were written just now."""
    monkeypatch.setattr(corpus_module, "is_settled", lambda newest, started: True)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are opened for reading text."""
    opened: list[Path] = []
    original = reading.opened

    def noted(files: Sequence[TextFile]) -> object:
        opened.extend(file.path for file in files)
        return original(files)

    monkeypatch.setattr(reading, "opened", noted)
    return opened
