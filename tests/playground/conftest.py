"""A server that the tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playground_helpers import Serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Two models, `one` of letters, in a run folder, with a training text, and `bytes`. Tests must not stop it."""
    from playground_helpers import BYTES, model_file, serving, write_run

    from char_rnn.data.corpus import Corpus
    from char_rnn.novelty.novelty import copied_stretches
    from char_rnn.playground.schema import Limits
    from char_rnn.playground.training_text import TrainingText

    run = write_run(tmp_path_factory.mktemp("runs") / "one", {100: 2.0, 200: 1.5})
    files = {"one": run, "bytes": model_file(BYTES, type="gru", num_layers=1)}
    corpus = Corpus.from_text('a "bad" cafe, a "bad" face.\n')
    texts = {"one": TrainingText("poem.txt", partial(copied_stretches, corpus.ids, corpus.vocabulary))}
    with serving(files, Limits(length=3000, prime=2000, streams=16), texts=texts) as running:
        yield running
