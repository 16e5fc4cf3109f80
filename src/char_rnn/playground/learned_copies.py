"""Copies of a served model that have learned from texts of clients.

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
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from char_rnn.generation.learning import Learner, Learning, Segment, Tensors, segments_of
from char_rnn.playground.messages import CLIENT_GONE, GONE, ApiError
from char_rnn.playground.schema import Limits

SYMBOLS = 4  # most for each character of `limits.prime`: the bytes of UTF-8
SECONDS_IN_USE = 1.0  # after a request has found a copy
DROPPED = "the server has dropped what it learned from this text; try again"

LearnerOf = Callable[[Callable[..., None]], Learner]
"""Makes a learner; calls the function between steps, and stops with an error that it raises."""


class Copy(Protocol):
    """A served model."""

    @property
    def busy(self) -> bool:
        """Whether it computes a text."""

    def count(self, attribute: str, /) -> float:
        """Return a count of its scheduler."""

    def start(self) -> None:
        """Start computing."""

    def close(self, reason: str, /) -> None:
        """End all texts, whose clients get the reason."""

    async def stop(self, reason: str, /) -> None:
        """End all texts and the thread."""


T = TypeVar("T")
CopyT = TypeVar("CopyT", bound=Copy)


class LearnedCopies(Generic[CopyT]):
    """The learned copies of one model, at most `limits.copies`; the one not used for the longest time is dropped first.

    Args:
        name: Name of the model.
        learner: Makes the learner of the model, in a thread.
        serve: Makes a served model with other weights.
        limits: Limits of the server.
    """

    def __init__(self, name: str, learner: LearnerOf, serve: Callable[[Tensors], CopyT], limits: Limits) -> None:
        self._name, self._learner, self._serve, self._limits = name, learner, serve, limits
        self._copies: dict[tuple[Segment, ...], tuple[float, CopyT]] = {}  # with their last use, the latest last
        self._learning: Learning | None = None
        self._lock, self._waiting = asyncio.Lock(), 0  # one request learns at a time
        self._thread = ThreadPoolExecutor(1)  # it alone uses `_learning`; several need more memory, for their heaps
        self._closing = ""  # the reason
        self._dropped: dict[str, float] = defaultdict(float)  # counts of the dropped copies

    def __len__(self) -> int:
        return len(self._copies)

    def count(self, attribute: str) -> float:
        """Return the sum of a count over the schedulers of all copies, including dropped ones."""
        return self._dropped[attribute] + sum(copy.count(attribute) for _, copy in self._copies.values())

    @property
    def busy(self) -> bool:
        """Whether a copy computes a text, or a request learns."""
        return bool(self._waiting) or any(copy.busy for _, copy in self._copies.values())

    async def get(self, texts: Sequence[Sequence[int]]) -> CopyT:
        """Return a copy that has learned from texts (T,), in this order.

        Raises:
            ApiError: The texts have too many symbols, all copies are in use, or too many requests wait to learn.
        """
        if (total := sum(map(len, texts))) > (most := SYMBOLS * self._limits.prime):
            raise ApiError(422, f"learn: the model reads {total:,} symbols for these texts; at most {most:,}", "learn")
        segments = tuple(chain.from_iterable(map(segments_of, texts)))
        if segments not in self._copies:
            await self._add(segments)
        _, copy = self._copies.pop(segments)
        self._copies[segments] = time.monotonic(), copy
        return copy

    async def forget(self, seconds: float = 0) -> None:
        """Drop the copies that were not used for some time; with the last of them, all that was learned."""
        while segments := self._unused(seconds):
            await self._drop(segments)
        if self._learning is not None and not self._copies and not self._waiting:
            await self._in_thread(self._learning.forget)

    async def stop(self, reason: str) -> None:
        """End all texts and threads of the copies."""
        self.close(reason)
        self._thread.shutdown(wait=False)
        copies = [copy for _, copy in self._copies.values()]
        self._copies.clear()
        await asyncio.gather(*(copy.stop(reason) for copy in copies))

    def close(self, reason: str) -> None:
        """End all texts, and what is being learned."""
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

    async def _learn(self, segments: Sequence[Segment]) -> CopyT:
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

    def _copy(self, segments: Sequence[Segment], gone: threading.Event) -> CopyT:
        if self._learning is None:
            self._learning = Learning(self._learner(self._go_on))
        for _ in self._learning.follow(segments):
            self._go_on()
            if gone.is_set():
                raise ApiError(CLIENT_GONE, GONE)
        return self._serve(self._learning.tensors())

    def _go_on(self, *_: object) -> None:
        if self._closing:
            raise ApiError(503, self._closing)

    def _refusal(self, reason: str) -> ApiError:
        return ApiError(429, f"model {self._name}: {reason}; try again soon", headers={"retry-after": "1"})
