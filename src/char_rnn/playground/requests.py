"""Read and check the body of a request, and answer a refused request with one line that says how to fix it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from char_rnn.playground.schema import Limits

BodyT = TypeVar("BodyT", bound=BaseModel)

CLIENT_GONE = 499
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


async def refuse(_request: Request, error: Exception) -> Response:
    """Answer an `ApiError`, or an `HTTPException` of the router."""
    assert isinstance(error, HTTPException)
    field = error.field if isinstance(error, ApiError) else None
    message = error.detail if isinstance(error, ApiError) else WORDS.get(error.status_code, error.detail)
    content = {"error": {"message": message, "field": field}}
    return JSONResponse(content, error.status_code, headers=dict(error.headers or {}))


async def read(request: Request, model: type[BodyT], limits: Limits) -> BodyT:
    """Return a request's body as `model`.

    Raises:
        ApiError: The body is too large, too slow, not JSON, or not a valid `model`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"Content-Type: must be application/json; given {kind[:_LONGEST] or 'none'!r}")
    try:
        raw = await asyncio.wait_for(_bytes(request, limits.body), limits.seconds_body)
    except ClientDisconnect:
        raise ApiError(CLIENT_GONE, "the client disconnected") from None
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
