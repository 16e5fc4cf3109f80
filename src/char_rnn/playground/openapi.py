"""The addresses of the API, and their description in OpenAPI 3.1, made of the models that check the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from char_rnn._version import __version__
from char_rnn.playground import schema

PREFIX = "/api"
REFUSED = (400, 403)
REFUSED_BODY = (413, 415, 422)
REFUSED_WORK = (429, 503)


@dataclass(frozen=True)
class Operation:
    """One thing the API does.

    Attributes:
        method: Of HTTP.
        path: Below :data:`PREFIX`.
        name: Of the endpoint, a method of `Api`.
        summary: What it does.
        answer: What comes back; ``None`` for a text of `media_type`.
        body: What is sent; ``None`` for nothing.
        media_type: Of what comes back.
        refused: Statuses that it may answer with besides.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    media_type: str = "application/json"
    refused: tuple[int, ...] = ()


OPERATIONS = (
    Operation("GET", "/models", "models", "The models that are served, and the limits.", schema.ModelsAnswer),
    Operation(
        "POST",
        "/generate",
        "generate",
        "Write a text, as server-sent events: `start`, messages without a name (CharactersEvent), `done` or `error`."
        " Closing the connection ends it.",
        None,
        schema.GenerateRequest,
        "text/event-stream",
        (404, *REFUSED_BODY, *REFUSED_WORK),
    ),
    Operation(
        "POST",
        "/activations",
        "activations",
        "What a hidden cell, or a layer of them, holds after each character of a text.",
        schema.ActivationsAnswer,
        schema.ActivationsRequest,
        refused=(404, *REFUSED_BODY, *REFUSED_WORK),
    ),
    Operation(
        "POST",
        "/score",
        "score",
        "How likely each character of a text was.",
        schema.ScoreAnswer,
        schema.ScoreRequest,
        refused=(404, *REFUSED_BODY, *REFUSED_WORK),
    ),
    Operation(
        "GET",
        "/models/{name}/cells",
        "cells",
        "The cells that best track quotes, line length, indentation and the like, in a text the model itself writes.",
        schema.CellsAnswer,
        refused=(404, *REFUSED_WORK),
    ),
    Operation(
        "POST",
        "/models/{name}/cells",
        "cells_of",
        "The cells that best track these in a text that is sent.",
        schema.CellsAnswer,
        schema.CellsRequest,
        refused=(404, *REFUSED_BODY, *REFUSED_WORK),
    ),
    Operation("GET", "/health", "health", "Whether the server runs.", schema.HealthAnswer),
    Operation("GET", "/metrics", "metrics", "Counts, for Prometheus.", None, media_type="text/plain"),
    Operation("GET", "/openapi.json", "openapi", "This description.", schema.OpenApiAnswer),
)
REASONS = {
    400: "Not a request of HTTP and JSON.",
    403: "From another site.",
    404: "No such model.",
    413: "Too large.",
    415: "Not JSON.",
    422: "A field is missing, unknown or out of its range.",
    429: "All streams of the model are taken.",
    503: "The server is shutting down, or the model gives no usable numbers.",
}


def document() -> schema.Document:
    """Describe the API."""
    models: dict[type[BaseModel], Literal["validation", "serialization"]] = {}
    for operation in OPERATIONS:
        if operation.body:
            models[operation.body] = "validation"
        if operation.answer:
            models[operation.answer] = "serialization"
    models |= dict.fromkeys((*schema.EVENTS, schema.ErrorAnswer), "serialization")
    _, definitions = models_json_schema(list(models.items()), ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "char-rnn", "version": __version__, "summary": "Writes text one character at a time."},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _described(operation: Operation) -> dict[str, Any]:
    answer = _reference(operation.answer) if operation.answer else {"type": "string"}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {"200": {"description": "Done.", "content": {operation.media_type: {"schema": answer}}}},
    }
    for status in (*REFUSED, *operation.refused):
        described["responses"][str(status)] = {
            "description": REASONS[status],
            "content": {"application/json": {"schema": _reference(schema.ErrorAnswer)}},
        }
    if operation.body:
        content = {"application/json": {"schema": _reference(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    if "{name}" in operation.path:
        described["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    return described


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
