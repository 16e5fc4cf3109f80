"""OpenAPI 3.1 description of the API, made from the pydantic models that check its requests and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from char_rnn._version import __version__
from char_rnn.playground import schema

PREFIX = "/api"
REASONS = {
    400: "Invalid HTTP or JSON.",
    403: "From another site.",
    404: "No such model.",
    413: "Body too large.",
    415: "Not JSON.",
    422: "A field is missing, unknown or out of range.",
    429: "All streams of the model are in use.",
    431: "Headers too large.",
    503: "The server is shutting down, or the model predicts NaN.",
}


@dataclass(frozen=True)
class Operation:
    """A route of the API.

    Attributes:
        method, path: HTTP method, and address below :data:`PREFIX`.
        endpoint: Method of `Api`; the first line of its docstring is the summary.
        answer: Model of the answer; ``None`` for a text of `media_type`.
        body: Model of the request's body, if any.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    media_type: str = "application/json"

    @property
    def name(self) -> str:
        """Name of the endpoint."""
        return self.endpoint.__name__

    @property
    def refused(self) -> Iterable[int]:
        """Statuses of refused requests."""
        if self.body is None and "{name}" not in self.path:
            return (400, 403, 431)
        return (status for status in REASONS if self.body or status not in (413, 415, 422))


def document(operations: Iterable[Operation]) -> schema.Document:
    """Return the description of the API."""
    models: dict[type[BaseModel], Literal["validation", "serialization"]] = {}
    paths: dict[str, Any] = {}
    for operation in operations:
        if operation.body:
            models[operation.body] = "validation"
        if operation.answer:
            models[operation.answer] = "serialization"
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _described(operation)
    models |= dict.fromkeys((*schema.EVENTS, schema.ErrorAnswer), "serialization")
    _, definitions = models_json_schema(list(models.items()), ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "char-rnn", "version": __version__, "summary": "Writes text one character at a time."},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _described(operation: Operation) -> dict[str, Any]:
    responses = {"200": {"description": "Success.", "content": _content(operation.answer, operation.media_type)}}
    for status in operation.refused:
        responses[str(status)] = {"description": REASONS[status], "content": _content(schema.ErrorAnswer)}
    summary = (operation.endpoint.__doc__ or "").partition("\n")[0]
    described: dict[str, Any] = {"operationId": operation.name, "summary": summary, "responses": responses}
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if "{name}" in operation.path:
        described["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    return described


def _content(model: type[BaseModel] | None, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"} if model else {"type": "string"}}}
