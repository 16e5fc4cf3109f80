"""The cells of a model, found in texts that it writes."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from playground_helpers import BYTES, alone, model_file

from char_rnn.generation.engine import Engine
from char_rnn.generation.tracking_cells import best_cells
from char_rnn.playground import cell_finder
from char_rnn.playground.cell_finder import CellFinder, aligned
from char_rnn.playground.messages import ApiError
from char_rnn.playground.scheduler import CLOSING

FILE = model_file()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_finder, "SAMPLE", (400, 400))


def finder() -> CellFinder:
    return CellFinder(Engine(FILE.config.model, FILE.tensors), FILE.vocabulary)


def test_the_cells_are_those_of_the_texts_that_the_engine_writes() -> None:
    texts, states = [], []
    length = 400 // cell_finder.TEXTS
    for row in range(cell_finder.TEXTS):
        seed = np.random.SeedSequence(0, spawn_key=(row,)) if row else 0
        texts.append(alone(FILE, "", length, cell_finder.STRATEGY, seed=seed))
        streams = Engine(FILE.config.model, FILE.tensors).begin()
        for symbol in FILE.vocabulary.encode(texts[-1]):
            streams.feed([symbol])
            states.append(streams.hidden())
    found = asyncio.run(finder().cells())
    assert found
    assert found == best_cells(texts, np.stack(states))


def test_they_are_found_once() -> None:
    async def asked() -> None:
        here = finder()
        one, two = await asyncio.gather(here.cells(), here.cells())
        assert one is two
        assert await here.cells() is one

    asyncio.run(asked())


def test_a_cancelled_caller_does_not_end_the_search() -> None:
    async def asked() -> None:
        here = finder()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(here.cells(), 0)
        assert await here.cells()

    asyncio.run(asked())


def test_closing_ends_the_search() -> None:
    here = finder()
    here.close()
    with pytest.raises(ApiError, match=CLOSING):
        asyncio.run(here.cells())


def test_large_models_write_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_finder, "SAMPLE", (80, 400))
    monkeypatch.setattr(cell_finder, "NUMBERS", 240 * 2 * 12)
    assert finder()._write()[0].size == 240
    monkeypatch.setattr(cell_finder, "NUMBERS", 1)
    assert finder()._write()[0].size == 80


def test_a_character_of_several_bytes_ends_with_its_last() -> None:
    text, ends = aligned(BYTES, np.frombuffer("aé漢\n".encode(), np.uint8).astype(np.int64))
    assert (text, ends.tolist()) == ("aé漢\n", [0, 2, 5, 6])
