"""The text that a model was trained on, and the stretches that another text copies from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from char_rnn.playground.messages import ApiError

Stretches = list[tuple[int, int]]
Search = Callable[[str, int, Callable[[int, int], None]], Stretches]
"""Finds copied stretches: their start and end, in characters.

Arguments: the text, the smallest number of characters of a stretch, and a function that receives the progress and may
raise an error to stop the search.
"""


class TrainingText:
    """A text to search, by one request at a time, so that memory is bounded.

    Attributes:
        name: Name of the text.
    """

    def __init__(self, name: str, search: Search) -> None:
        self.name = name
        self._search, self._one = search, asyncio.Lock()

    async def copied(self, text: str, at_least: int) -> Stretches:
        """Find the copied stretches of a text in a thread, which ends early if the caller is cancelled.

        Raises:
            ApiError: The text has too many different characters to be searched for.
        """
        left = threading.Event()

        def go_on(_done: int, _total: int) -> None:
            if left.is_set():
                raise _LeftError

        async with self._one:
            searching = asyncio.ensure_future(asyncio.to_thread(self._search, text, at_least, go_on))
            try:
                return await asyncio.shield(searching)
            except ValueError as error:
                raise ApiError(422, str(error), "text") from None
            finally:
                left.set()
                await asyncio.gather(searching, return_exceptions=True)  # the next search waits for the thread


class _LeftError(Exception):
    """The caller no longer waits."""
