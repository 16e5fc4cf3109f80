"""A served model whose copies learn from texts of clients.

What a copy has learned depends on the texts of the request only. No client has a session, and none learns from
another's text.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import Any, TypeVar

from char_rnn.generation.learning import Learner, Learning, Segment, Tensors, segments_of
from char_rnn.generation.network import Precision
from char_rnn.model_file import ModelFile
from char_rnn.playground.messages import CLIENT_GONE, GONE, ApiError
from char_rnn.playground.scheduler import CLOSING
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_model import ServedModel

SYMBOLS = 4  # most for each character of `limits.prime`: the bytes of UTF-8
SECONDS_IN_USE = 1.0  # after a request has found a copy
DROPPED = "the server has dropped what it learned from this text; try again"

MakeLearner = Callable[[ModelFile, Callable[..., None]], Learner]
"""Makes the learner of a model; calls the function between steps, and stops with an error that it raises."""

T = TypeVar("T")


class LearningModel(ServedModel):
    """A served model with learned copies, at most `limits.copies`; the least recently used one is dropped first."""

    learns = True

    def __init__(
        self,
        name: str,
        file: ModelFile,
        precision: Precision,
        limits: Limits,
        threads: int | None,
        make_learner: MakeLearner,
    ) -> None:
        super().__init__(name, file, precision, limits, threads)
        self._file, self._precision, self._threads = file, precision, threads
        self._make_learner = make_learner
        self._copies: dict[tuple[Segment, ...], tuple[float, ServedModel]] = {}  # with their last use, the latest last
        self._learning: Learning | None = None
        self._lock, self._waiting = asyncio.Lock(), 0  # one request learns at a time
        self._thread = ThreadPoolExecutor(1)  # it alone uses `_learning`; several need more memory, for their heaps
        self._closing = ""  # the reason
        self._dropped: dict[str, float] = defaultdict(float)  # counts of the dropped copies

    @property
    def learned_copies(self) -> int:
        """Number of learned copies in memory."""
        return len(self._copies)

    def count(self, attribute: str) -> float:
        """Return a count of the scheduler, with those of the learned copies, including dropped ones."""
        copies = sum(copy.count(attribute) for _, copy in self._copies.values())
        return super().count(attribute) + self._dropped[attribute] + copies

    @property
    def busy(self) -> bool:
        """Whether it or a copy computes a text, it searches for cells, or a request learns."""
        return super().busy or bool(self._waiting) or any(copy.busy for _, copy in self._copies.values())

    async def learned(self, texts: Sequence[str]) -> ServedModel:
        """Return the copy that has learned from some texts, in this order; without any text, the model itself.

        Raises:
            ApiError: The texts have too many symbols, all copies are in use, or too many requests wait to learn.
        """
        symbols = [(await self.spelled(text)).indices.tolist() for text in texts]
        if all(len(each) < 2 for each in symbols):  # the first is not predicted
            return self
        if (total := sum(map(len, symbols))) > (most := SYMBOLS * self._limits.prime):
            raise ApiError(422, f"learn: the model reads {total:,} symbols for these texts; at most {most:,}", "learn")
        segments = tuple(chain.from_iterable(map(segments_of, symbols)))
        if segments not in self._copies:
            await self._add(segments)
        _, copy = self._copies.pop(segments)
        self._copies[segments] = time.monotonic(), copy
        return copy

    async def forget(self, seconds: float) -> None:
        """Drop the copies that were not used for some time; with the last of them, all that was learned."""
        while segments := self._unused(seconds):
            await self._drop(segments)
        if self._learning is not None and not self._copies and not self._waiting:
            await self._in_thread(self._learning.forget)

    async def stop(self, reason: str = CLOSING) -> None:
        """End all texts, whose clients get the reason, and all threads."""
        self.close(reason)
        self._thread.shutdown(wait=False)
        copies = [copy for _, copy in self._copies.values()]
        self._copies.clear()
        await asyncio.gather(super().stop(reason), *(copy.stop(reason) for copy in copies))

    def close(self, reason: str = CLOSING) -> None:
        """End all texts, whose clients get the reason, and what is being learned."""
        super().close(reason)
        self._closing = reason
        for _, copy in self._copies.values():
            copy.close(reason)

    async def _add(self, segments: tuple[Segment, ...]) -> None:
        if self._waiting >= self._limits.copies:
            raise self._refusal(f"{self._waiting} requests are learning already")
        self._waiting += 1
        try:
            async with self._lock:
                if segments not in self._copies:  # another request may have learned the same
                    await self._make_room()
                    copy = await self._learn(segments)
                    copy.start()
                    self._copies[segments] = time.monotonic(), copy
        finally:
            self._waiting -= 1

    async def _make_room(self) -> None:
        if len(self._copies) < self._limits.copies:
            return
        segments = self._unused(SECONDS_IN_USE)
        if segments is None:
            raise self._refusal(f"its {self._limits.copies} learned copies are in use")
        await self._drop(segments)

    def _unused(self, seconds: float) -> tuple[Segment, ...] | None:
        """Return the key of the least recently used copy, if it was unused for so many seconds."""
        latest = time.monotonic() - seconds
        return next((key for key, (used, copy) in self._copies.items() if used <= latest and not copy.busy), None)

    async def _drop(self, segments: tuple[Segment, ...]) -> None:
        _, copy = self._copies.pop(segments)
        for attribute in ("symbols", "seconds"):
            self._dropped[attribute] += copy.count(attribute)
        await copy.stop(DROPPED)

    async def _learn(self, segments: Sequence[Segment]) -> ServedModel:
        """Learn; the thread stops after its present segment if the caller is cancelled."""
        self._go_on()
        gone = threading.Event()
        try:
            copy = await self._in_thread(self._copy, segments, gone)
        finally:
            gone.set()
        self._go_on()
        return copy

    def _in_thread(self, do: Callable[..., T], *given: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, do, *given)

    def _copy(self, segments: Sequence[Segment], gone: threading.Event) -> ServedModel:
        if self._learning is None:
            self._learning = Learning(self._make_learner(self._file, self._go_on))
        for _ in self._learning.follow(segments):
            self._go_on()
            if gone.is_set():
                raise ApiError(CLIENT_GONE, GONE)
        return self._serve(self._learning.learner.tensors())

    def _serve(self, tensors: Tensors) -> ServedModel:
        file = replace(self._file, tensors=tensors)
        return ServedModel(self.name, file, self._precision, self._limits, self._threads)

    def _go_on(self, *_: object) -> None:
        if self._closing:
            raise ApiError(503, self._closing)

    def _refusal(self, reason: str) -> ApiError:
        return ApiError(429, f"model {self.name}: {reason}; try again soon", headers={"retry-after": "1"})
