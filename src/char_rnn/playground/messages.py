"""The bodies of requests, the answers to refused ones, and streams of events.

A request is refused with one line that says how to fix it. Server-sent events go from a scheduler's thread, through an
outbox, to a client that reads while a text is written.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import groupby
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from char_rnn.playground.schema import Limits

BodyT = TypeVar("BodyT", bound=BaseModel)
AnswerT = TypeVar("AnswerT")

CLIENT_GONE, GONE = 499, "the client disconnected"
WORDS = {404: "no such address", 405: "this address does not accept this method"}
_LONGEST = 60  # characters of a wrong value, or of a field's name, in a message


class ApiError(HTTPException):
    """A refused request: `detail` says in one line what is wrong, where, and how to fix it.

    Attributes:
        field: Field of the request's body that is wrong, if any.
    """

    def __init__(
        self, status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.field = field


def check_most(field: str, given: int, most: int, unit: str = "") -> None:
    """Raise `ApiError` if a field of a request is larger than allowed."""
    if given > most:
        raise ApiError(422, f"{field}: at most {most:,}{unit}; given {given:,}", field)


async def refuse(request: Request, error: Exception) -> Response:
    """Answer an `ApiError`, or an `HTTPException` of the router; under /v1 in the form of OpenAI's API."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    field = error.field if isinstance(error, ApiError) else None
    message = error.detail if isinstance(error, ApiError) else WORDS.get(status, error.detail)
    described: dict[str, Any] = {"message": message, "field": field}
    if request.url.path.startswith("/v1/"):
        status = 400 if status == 422 else status
        described = openai_error(status, message, field)
    return JSONResponse({"error": described}, status, headers=dict(error.headers or {}))


def unless_known(request: Request, content: bytes, media_type: str) -> Response:
    """Return a content, or status 304 if the client already has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


def openai_error(status: int, message: str, field: str | None) -> dict[str, Any]:
    """Describe an error as OpenAI's API does."""
    codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    codes |= {404: "model_not_found"} if field == "model" else {}
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return {"message": message, "type": kind, "param": field, "code": codes.get(status)}


async def read(request: Request, model: type[BodyT], limits: Limits, texts: int = 1) -> BodyT:
    """Return a request's body, which may have several texts, as `model`.

    Raises:
        ApiError: The body is too large, too slow, not JSON, or not a valid `model`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"Content-Type: must be application/json; given {kind[:_LONGEST] or 'none'!r}")
    try:
        raw = await asyncio.wait_for(_bytes(request, limits.body * texts), limits.seconds_body)
    except ClientDisconnect:
        raise ApiError(CLIENT_GONE, GONE) from None
    except TimeoutError:
        raise ApiError(400, f"the body did not arrive within {limits.seconds_body:g} seconds") from None
    return checked(model, parsed(raw))


async def _bytes(request: Request, most: int) -> bytes:
    too_large = ApiError(413, f"the body is larger than {most:,} bytes")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) > most:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise too_large
    return bytes(body)


def parsed(raw: bytes) -> Any:
    """Return the value of a JSON text.

    Not by `model_validate_json`, which refuses half a surrogate pair: it is a legal character of a prime.

    Raises:
        ApiError: Invalid JSON.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ApiError(400, f"the body is not valid JSON ({reason[:200]})") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def checked(model: type[BodyT], body: Any) -> BodyT:
    """Return a body as `model`.

    Raises:
        ApiError: Not a valid `model`; the message names the first mistake.
    """
    if not isinstance(body, dict):
        raise ApiError(422, "the body must be a JSON object")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in mistake["loc"])
        field = _shortened(field if field.isprintable() else ascii(field)[1:-1])
        if field and mistake["type"] == "extra_forbidden":
            near = get_close_matches(field, model.model_fields, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ApiError(422, f"{field}: no such field{hint}", field) from None
        reason = mistake["msg"][:1].lower() + mistake["msg"][1:]
        given = "" if mistake["type"] == "missing" else f"; given {_shortened(ascii(mistake['input']))}"
        raise ApiError(422, f"{field or 'a field name'}: {reason}{given}", field or None) from None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


PACE = 0.04  # seconds between messages; a message for each character takes longer than generating it
NO_PING = 10**6  # seconds; programs written for 1.0 may not expect the library's comments in the stream

# Not sse_starlette.JSONServerSentEvent, which takes 1.8 times as long for 40 characters with 10 alternatives.
compact_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode

Item = tuple[str, Mapping[str, Any], int]
"""An event's name (empty for a character), its data, and the number of its text in the outbox."""


class Outbox:
    """A queue from a scheduler's thread to a task of the event loop, on which it has to be made.

    From `capacity` items on it is full and its job pauses; `wake` is called when there is room again.
    """

    def __init__(self, capacity: int, wake: Callable[[], None]) -> None:
        self._capacity, self._wake = capacity, wake
        self._items: deque[Item] = deque()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._notified = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether the client lags behind."""
        return len(self._items) >= self._capacity

    def put(self, *items: Item) -> None:
        """Add items, from the thread or on the event loop."""
        self._items.extend(items)
        if not self._notified:
            self._notified = True
            with suppress(RuntimeError):  # the loop is closed: no client is left
                self._loop.call_soon_threadsafe(self._changed.set)

    async def take(self) -> list[Item]:
        """Wait for items, and return all of them."""
        await self._changed.wait()
        self._changed.clear()
        self._notified = False  # before the items are taken, so that each later `put` notifies again
        items = [self._items.popleft() for _ in range(len(self._items))]
        self._wake()
        return items


class EventStream(EventSourceResponse):
    """Sends the items of an outbox until all `texts` are done, one fails or the client leaves; then calls `leave`.

    A client that reads nothing for `patience` seconds is disconnected. `encode` writes the items as events.
    """

    def __init__(
        self,
        outbox: Outbox,
        leave: Callable[[], None],
        patience: float,
        encode: Callable[[Sequence[Item]], bytes] | None = None,
        texts: int = 1,
    ) -> None:
        messages = ((encode or encoded)(items) async for items in batches(outbox, texts))
        super().__init__(messages, ping=NO_PING, send_timeout=patience)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream."""
        try:
            with suppress(OSError):  # a reset connection, or (TimeoutError) a client that reads nothing
                await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def batches(outbox: Outbox, texts: int = 1, pace: float = PACE) -> AsyncIterator[list[Item]]:
    """Yield new items until all texts are done or one has failed, in batches `pace` seconds apart."""
    while texts > 0:
        items = await outbox.take()
        names = [name for name, _, _ in items]
        texts = 0 if "error" in names else texts - names.count("done")
        if items:
            yield items
            await asyncio.sleep(pace if texts > 0 and "" in names else 0)


def encoded(items: Sequence[Item]) -> bytes:
    """Return items as events; consecutive characters share one message."""
    parts = []
    for name, group in groupby(items, key=lambda item: item[0]):
        data = [each for _, each, _ in group]
        if not name:
            data = [{"text": "".join(each["text"] for each in data), "characters": data}]
        head = f"event: {name}\ndata: " if name else "data: "
        parts += [f"{head}{compact_json(each)}\n\n" for each in data]
    return "".join(parts).encode()


async def unless_disconnected(request: Request, answer: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    """Return the answer, or cancel it when the client disconnects.

    Raises:
        ApiError: The client has disconnected.
    """
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ApiError(CLIENT_GONE, GONE)
        return answering.result()
    finally:
        answering.cancel()
        leaving.cancel()


async def _disconnected(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
