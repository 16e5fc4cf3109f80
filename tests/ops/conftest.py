"""Ways to run a layer."""

from __future__ import annotations

import pytest
import torch
from ops_helpers import WAYS

from char_rnn.ops import kernel_loop, layers


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """Run layers by the kernels, by the derived loop, or by PyTorch's functions; return the type to run them in."""
    can_run = kernel_loop.can_run
    if request.param == "kernels":
        if kernel_loop.load() is None:
            pytest.skip("the kernels are not built, or do not run here")
        monkeypatch.setattr(kernel_loop, "can_run", lambda *of: can_run(*of) or pytest.fail("not run by the kernels"))
    else:
        monkeypatch.setattr(kernel_loop, "can_run", lambda *_: False)
    if request.param == "derived":
        monkeypatch.setattr(layers, "_PYTORCH", {})
    return WAYS[request.param]
