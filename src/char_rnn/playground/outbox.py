"""What a batch's thread has made for a reader on the event loop, no more than a little ahead of him."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

Item = tuple[str, Mapping[str, Any]]
"""An event's name, empty for a character, and its data."""


class Outbox:
    """A queue from one thread to one task; made on the event loop.

    Args:
        capacity: Items beyond which `full` asks the thread to wait.
        wake: Called when there is room again.

    Attributes:
        taken: How many items have been.
    """

    def __init__(self, capacity: int, wake: Callable[[], None]) -> None:
        self.taken = 0
        self._capacity, self._wake = capacity, wake
        self._items: deque[Item] = deque()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._told = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether the reader lags behind."""
        return len(self._items) >= self._capacity

    def put(self, *items: Item) -> None:
        """Add items; from the thread, or on the loop."""
        self._items.extend(items)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has been closed: nobody reads
                self._loop.call_soon_threadsafe(self._changed.set)

    async def take(self) -> list[Item]:
        """Wait for items, and return all there are."""
        await self._changed.wait()
        self._changed.clear()
        self._told = False  # before the items are taken: what is put from here on is told of anew
        items = [self._items.popleft() for _ in range(len(self._items))]
        self.taken += len(items)
        self._wake()
        return items
