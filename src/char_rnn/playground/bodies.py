"""The body of a request: read no further than allowed, and checked."""

from __future__ import annotations

import asyncio
import json
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from char_rnn.playground.errors import ApiError
from char_rnn.playground.limits import Limits

Model = TypeVar("Model", bound=BaseModel)

_LONGEST = 60  # characters of a wrong value, or of a field's name, that are shown


async def read(request: Request, model: type[Model], limits: Limits) -> Model:
    """Return a request's body as `model`.

    Raises:
        ApiError: It is too large, too slow, no JSON, or not what `model` takes.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"Content-Type: must be application/json; given {kind[:_LONGEST] or 'none'!r}")
    try:
        raw = await asyncio.wait_for(_bytes(request, limits.body), limits.seconds_body)
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
    """Return what JSON says.

    Raises:
        ApiError: It is none.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ApiError(400, f"the body is no JSON ({reason[:200]})") from None


def checked(model: type[Model], body: Any) -> Model:
    """Return a body as `model`.

    Raises:
        ApiError: It is not what `model` takes; the first mistake is named.
    """
    if not isinstance(body, dict):
        raise ApiError(422, "the body must be a JSON object")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False)[0]
        field = _named(".".join(str(part) for part in mistake["loc"])) or None
        if field and mistake["type"] == "extra_forbidden":
            raise ApiError(422, _unknown(model, field), field) from None
        given = "" if mistake["type"] == "missing" else f"; given {_shown(mistake['input'])}"
        raise ApiError(
            422, f"{field or 'the name of a field'}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}{given}", field
        ) from None


def _unknown(model: type[BaseModel], field: str) -> str:
    near = get_close_matches(field, model.model_fields, 1)
    return f"{field}: there is no such field" + (f"; did you mean {near[0]}?" if near else "")


def _named(field: str) -> str:
    return _shortened(field if field.isprintable() else ascii(field)[1:-1])


def _shown(value: Any) -> str:
    return _shortened(ascii(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
