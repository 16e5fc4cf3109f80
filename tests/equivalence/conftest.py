"""Where the recordings of the 2015 programs are, if they are here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PLACE = Path(__file__).resolve().parents[3] / "shared" / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recordings: ``CHAR_RNN_GOLDEN_DIR``, or ``../shared/golden`` beside the project."""
    folder = Path(os.environ.get("CHAR_RNN_GOLDEN_DIR", PLACE))
    if not folder.is_dir():
        pytest.skip(f"no recordings of the 2015 programs here ({folder}); CHAR_RNN_GOLDEN_DIR names another place")
    return folder
