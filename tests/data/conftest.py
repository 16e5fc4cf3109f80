"""Fixtures that watch which files are read, and that trust their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from char_rnn.data import preparation, reading


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of files that were written just now."""
    monkeypatch.setattr(preparation, "is_settled", lambda newest, started: True)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are opened for reading text."""
    opened: list[Path] = []
    original = reading.opened
    monkeypatch.setattr(reading, "opened", lambda file: (opened.append(file.path), original(file))[1])
    return opened
