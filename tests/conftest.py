"""Settings every test shares: one thread (tiny models are faster on one), no network caches of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("char-rnn", deadline=None)  # a busy machine is no failure
settings.load_profile("char-rnn")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own data sets and caches."""
    monkeypatch.setenv("CHAR_RNN_DATA_DIR", str(tmp_path / "char-rnn-data"))
