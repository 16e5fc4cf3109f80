"""A server that the tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playground_helpers import Serving


@pytest.fixture(scope="session")
def served() -> Iterator[Serving]:
    """Two models, `one` of letters and `bytes`. Tests must not stop it."""
    from playground_helpers import BYTES, model_file, serving

    from char_rnn.playground.schema import Limits

    files = {"one": model_file(), "bytes": model_file(BYTES, type="gru", num_layers=1)}
    with serving(files, Limits(length=3000, prime=2000, streams=16)) as running:
        yield running
