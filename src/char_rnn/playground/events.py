"""Server-sent events: an answer that goes on while a text is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from char_rnn.playground.outbox import Item, Outbox

LAST = ("done", "error")
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
PACE = 0.04  # seconds between messages: one for every character costs several times what the character does


class EventStream(Response):
    """Sends what an outbox is given, until `done` or `error` or the reader goes.

    Args:
        outbox: Where it comes from.
        left: Called at the end, however it comes.
        patience: Seconds after which a reader who takes nothing is left.
    """

    media_type = "text/event-stream"

    def __init__(self, outbox: Outbox, left: Callable[[], None], patience: float) -> None:
        super().__init__()
        self._outbox, self._left, self._patience = outbox, left, patience
        self._sent, self._is_sending = 0, False
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream."""
        sending = asyncio.ensure_future(self._send(send))
        watching = asyncio.ensure_future(self._watch(receive))
        try:
            await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._left()
            for task in (sending, watching):
                task.cancel()
                with suppress(asyncio.CancelledError, OSError):  # a reader who has gone is no error
                    await task

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        ended = False
        while not ended:
            items = await self._outbox.take()
            ended = any(name in LAST for name, _ in items)
            if items:
                self._is_sending = True
                await send({"type": "http.response.body", "body": encoded(items), "more_body": not ended})
                self._sent, self._is_sending = self._sent + 1, False
                await asyncio.sleep(PACE if not ended and any(not name for name, _ in items) else 0)

    async def _watch(self, receive: Receive) -> None:
        """Return when the reader has gone, or takes nothing for too long."""
        leaving = asyncio.ensure_future(gone(receive))
        try:
            sent = -1
            while not leaving.done() and not (self._is_sending and self._sent == sent):
                sent = self._sent
                await asyncio.wait({leaving}, timeout=self._patience)
        finally:
            leaving.cancel()


async def gone(receive: Receive) -> None:
    """Return when the one who asked has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def encoded(items: Sequence[Item]) -> bytes:
    """Return items as events; characters that follow each other are one message."""
    parts = []
    for name, group in groupby(items, key=lambda item: item[0]):
        if name:
            parts += [_event(data, name) for _, data in group]
        else:
            characters = [data for _, data in group]
            parts.append(_event({"text": "".join(data["text"] for data in characters), "characters": characters}))
    return "".join(parts).encode()


def _event(data: Any, name: str = "") -> str:
    body = _JSON.encode(data)
    return f"event: {name}\ndata: {body}\n\n" if name else f"data: {body}\n\n"
