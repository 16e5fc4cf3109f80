"""Texts that share the rows of one model."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from itertools import pairwise

import numpy as np
import pytest
from playground_helpers import WAIT, eventually, model_file

from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Array
from char_rnn.playground.jobs import ReadJob, scores, states
from char_rnn.playground.messages import ApiError, Outbox
from char_rnn.playground.scheduler import CLOSING, Scheduler, TextJob

FILE = model_file()


class Endless(TextJob):
    """Reads the same symbol forever, unless it is held."""

    symbol = 1

    def __init__(self) -> None:
        self.count, self.held, self.failed = 0, False, Future[str]()

    @property
    def paused(self) -> bool:
        return self.held

    def take(self, log_probs: Array, state: Array | None) -> None:
        self.count += 1

    def fail(self, message: str) -> None:
        self.failed.set_result(message)


class Wrong(Endless):
    """Raises an error at its third symbol."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def take(self, log_probs: Array, state: Array | None) -> None:
        self.count += 1
        if self.count == 3:
            raise self.error


@pytest.fixture
def scheduler():  # type: ignore[no-untyped-def]
    made = Scheduler(Engine(FILE.config.model, FILE.tensors), 3)
    made.start()
    yield made
    made.close()
    made.join(WAIT)
    assert not made._thread.is_alive()


def test_every_step_advances_each_job(scheduler: Scheduler) -> None:
    texts = [Endless() for _ in range(3)]
    for text in texts:
        text.held = True
        scheduler.add(text)
    eventually(lambda: scheduler.active == 3)
    for text in texts:
        text.held = False
    scheduler.wake()
    eventually(lambda: texts[0].count > 100)
    counts = [text.count for text in texts]
    assert max(counts) - min(counts) <= 50  # the steps go on while the counts are read


def test_a_paused_job_does_not_stop_others(scheduler: Scheduler) -> None:
    held, other = Endless(), Endless()
    held.held = True
    scheduler.add(held)
    scheduler.add(other)
    eventually(lambda: other.count > 20)
    assert held.count == 0
    held.held = False
    other.held = True
    scheduler.wake()
    eventually(lambda: held.count > 20)


def test_no_steps_while_all_jobs_are_paused(scheduler: Scheduler) -> None:
    held = Endless()
    held.held = True
    scheduler.add(held)
    eventually(lambda: scheduler.active == 1)
    before = scheduler.symbols
    threading.Event().wait(0.05)
    assert scheduler.symbols == before


def test_a_full_scheduler_refuses_another_job(scheduler: Scheduler) -> None:
    texts = [Endless() for _ in range(3)]
    for text in texts:
        scheduler.add(text)
    with pytest.raises(ApiError, match="3 texts"):
        scheduler.add(Endless())
    scheduler.cancel(texts[1])
    scheduler.cancel(texts[2])
    eventually(lambda: scheduler.active == 1)
    scheduler.add(Endless())


def test_a_row_is_reset(scheduler: Scheduler) -> None:
    symbols = [1, 5, 3, 3, 8]
    for _ in range(5):
        text = ReadJob(symbols, scores(symbols))
        scheduler.add(text)
        found = text.result.result(WAIT)
    streams = Engine(FILE.config.model, FILE.tensors).begin()
    expected = [float(streams.step([now])[0][after]) for now, after in pairwise(symbols)]
    np.testing.assert_array_equal(found[:-1], expected)
    np.testing.assert_array_equal(found[-1], streams.step([symbols[-1]])[0])


def test_recorded_parts_of_the_state(scheduler: Scheduler) -> None:
    kept = []
    for place in ((), (1,), (1, 4)):
        text = ReadJob([2, 7], states(place), wants_state=True)
        scheduler.add(text)
        kept.append(np.array(text.result.result(WAIT)))
    assert kept[0].shape == (2, 2, 12)
    np.testing.assert_array_equal(kept[1], kept[0][:, 1])
    np.testing.assert_array_equal(kept[2], kept[0][:, 1, 4])


def test_an_error_ends_only_its_own_job(scheduler: Scheduler, caplog: pytest.LogCaptureFixture) -> None:
    other, useless, wrong = Endless(), Wrong(ValueError("no number")), Wrong(KeyError("x"))
    for text in (other, useless, wrong):
        scheduler.add(text)
    assert useless.failed.result(WAIT) == "no number"
    assert wrong.failed.result(WAIT).startswith("KeyError (a mistake in char-rnn")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]
    count = other.count
    eventually(lambda: other.count > count and scheduler.active == 1)


def test_a_symbol_out_of_range(scheduler: Scheduler, caplog: pytest.LogCaptureFixture) -> None:
    wrong = Endless()
    wrong.symbol = 999
    scheduler.add(wrong)
    assert wrong.failed.result(WAIT).startswith("IndexError")
    text = ReadJob([1, 2], scores([1, 2]))
    scheduler.add(text)
    assert len(text.result.result(WAIT)) == 2


def test_closing_ends_all_jobs() -> None:
    scheduler = Scheduler(Engine(FILE.config.model, FILE.tensors), 3)
    texts = [Endless(), Endless()]
    texts[1].held = True
    unfinished = ReadJob([1] * 10**6, states(), wants_state=True)
    for text in texts:
        scheduler.add(text)
    scheduler.start()
    scheduler.add(unfinished)
    eventually(lambda: texts[0].count > 0)
    scheduler.close()
    assert [text.failed.result(WAIT) for text in texts] == [CLOSING, CLOSING]
    with pytest.raises(ApiError, match=CLOSING):
        unfinished.result.result(WAIT)
    scheduler.join(WAIT)
    with pytest.raises(ApiError, match="shutting down"):
        scheduler.add(Endless())


def test_an_outbox_loses_nothing_between_thread_and_loop() -> None:
    woken = []

    async def read() -> list[int]:
        outbox = Outbox(10, lambda: woken.append(1))

        def write() -> None:
            for number in range(3000):
                outbox.put(("", {"number": number}, 0))

        thread = threading.Thread(target=write)
        thread.start()
        found: list[int] = []
        while len(found) < 3000:
            found += [item["number"] for _, item, _ in await asyncio.wait_for(outbox.take(), WAIT)]
        thread.join()
        assert len(outbox) == 0
        return found

    assert asyncio.run(read()) == list(range(3000))
    assert woken


def test_an_outbox_is_full_at_its_capacity() -> None:
    async def fill() -> list[bool]:
        outbox = Outbox(2, lambda: None)
        full = []
        for _ in range(3):
            full.append(outbox.full)
            outbox.put(("", {}, 0))
        await outbox.take()
        return [*full, outbox.full]

    assert asyncio.run(fill()) == [False, False, True, False]
