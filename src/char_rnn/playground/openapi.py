"""The operations of the API, and their description in OpenAPI, made from the models of requests and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from char_rnn._version import __version__
from char_rnn.playground.schema import CharactersEvent, DoneEvent, ErrorAnswer, ErrorEvent, StartEvent

EVENTS: tuple[type[BaseModel], ...] = (StartEvent, CharactersEvent, DoneEvent, ErrorEvent)

PREFIX = "/api"
REASONS = {
    400: "Invalid HTTP or JSON; under /v1 also a field that is missing or out of range.",
    401: "The API key is missing or wrong.",
    403: "From another site.",
    404: "No such model.",
    413: "Body too large.",
    415: "Not JSON.",
    422: "A field is missing, unknown or out of range.",
    429: "All streams of the model are in use.",
    431: "Headers too large.",
    503: "The server is shutting down, the run has no checkpoint yet, or the model predicts NaN.",
}


@dataclass(frozen=True)
class Operation:
    """A route of the API.

    Attributes:
        method, path: HTTP method, and address below `prefix`.
        endpoint: Method of `Api`; the first line of its docstring is the summary.
        answer: Model of the answer; ``None`` for a text of `media_type`.
        body: Model of the request's body, if any.
        streams: Whether a request may ask for events instead of `answer`.
        error: Model of the answer to a refused request.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    media_type: str = "application/json"
    prefix: str = PREFIX
    streams: bool = False
    error: type[BaseModel] = ErrorAnswer

    @property
    def address(self) -> str:
        """Address of the route."""
        return self.prefix + self.path

    @property
    def name(self) -> str:
        """Name of the endpoint."""
        return self.endpoint.__name__

    @property
    def refused(self) -> Iterable[int]:
        """Statuses of refused requests."""
        if self.body is None and "{name}" not in self.path:
            return (400, 401, 403, 431)
        absent = {413, 415, 422} if self.body is None else set() if self.error is ErrorAnswer else {422}
        return (status for status in REASONS if status not in absent)


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the description of the API."""
    models: dict[type[BaseModel], Literal["validation", "serialization"]] = {}
    paths: dict[str, Any] = {}
    for operation in operations:
        if operation.body:
            models[operation.body] = "validation"
        if operation.answer:
            models[operation.answer] = "serialization"
        models[operation.error] = "serialization"
        paths.setdefault(operation.address, {})[operation.method.lower()] = _described(operation)
    models |= dict.fromkeys(EVENTS, "serialization")
    _, definitions = models_json_schema(list(models.items()), ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "char-rnn", "version": __version__, "summary": "Writes text one character at a time."},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _described(operation: Operation) -> dict[str, Any]:
    content = _content(operation.answer, operation.media_type)
    content |= _content(None, "text/event-stream") if operation.streams else {}
    responses = {"200": {"description": "Success.", "content": content}}
    for status in operation.refused:
        responses[str(status)] = {"description": REASONS[status], "content": _content(operation.error)}
    summary = (operation.endpoint.__doc__ or "").partition("\n")[0]
    described: dict[str, Any] = {"operationId": operation.name, "summary": summary, "responses": responses}
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if "{name}" in operation.path:
        described["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    return described


def _content(model: type[BaseModel] | None, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"} if model else {"type": "string"}}}
