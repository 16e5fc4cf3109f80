"""The two ways that the engine computes."""

from __future__ import annotations

import pytest

from char_rnn.kernels import load


@pytest.fixture(params=["off", "kernels"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Everything by NumPy and by the kernels; whether by these."""
    if request.param == "off":
        monkeypatch.setattr("char_rnn.generation.engine.load", lambda: None)
    elif load() is None:
        pytest.skip("the kernels are not built, or do not run here")
    return bool(request.param == "kernels")
