"""The OpenAPI description agrees with routes, requests and answers."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from playground_helpers import Serving
from pydantic import BaseModel
from starlette.routing import Route

from char_rnn.playground import api, schema, v1
from char_rnn.playground.api import DOCUMENT
from char_rnn.sampling.options import NUMBERS, Strategy

OPERATIONS = (*api.OPERATIONS, *v1.OPERATIONS)
TEXT = 'a "bad" cafe,\n  a "face".\n' * 3
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "generate": [
        {"model": "one"},
        {"model": "one", "prime": "a", "length": 3, "seed": 1, "stop": ["b"], "stop_at_newline": True,
         "unknown": "skip", "temperature": 0.5, "final_temperature": None, "top_k": 3, "top_p": 0.9, "min_p": 0.01,
         "typical_p": 0.9,
         "repetition_penalty": 1.1, "repetition_window": 5, "banned": "a", "allowed": "bcd", "alternatives": 3,
         "unit": {"layer": 0, "index": 1}, "states": True},
    ],
    "activations": [{"model": "one", "text": TEXT, "layer": 1, "unit": 2}, {"model": "one", "text": TEXT, "layer": 1}],
    "states": [{"model": "one", "text": TEXT}],
    "score": [{"model": "one", "text": "a東"}, {"model": "one", "text": "ab", "alternatives": 3}],
    "copied": [{"model": "one", "text": TEXT}, {"model": "one", "text": "", "at_least": 1}],
    "cells_of": [{"text": TEXT}],
    "complete": [
        {"model": "one"},
        {"model": "one", "prompt": ["a", "b"], "n": 2, "best_of": 3, "logprobs": 2, "echo": True, "stop": "c", "x": 1},
    ],
    "chat": [
        {"model": "one", "messages": [{"role": "user", "content": "a"}], "logprobs": True, "stop": ["b"]},
        {"model": "one", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "max_tokens": 3},
    ],
    "tokenize": [{"prompt": "ab"}],
    "detokenize": [{"tokens": [97]}],
}  # fmt: skip
WRONG: dict[str, list[dict[str, Any]]] = {
    "generate": [
        {"model": 1}, {"model": "one", "length": -1}, {"model": "one", "top_k": 0}, {"model": "one", "x": 1},
        {"model": "one", "unknown": "guess"}, {"model": "one", "stop": "a"}, {"model": "one", "alternatives": 21},
        {"model": "one", "unit": {"layer": 0}}, {"model": "one", "top_p": 0}, {"model": "one", "length": "1"},
        {"model": "one", "min_p": 0}, {"model": "one", "repetition_penalty": 101}, {"model": "one", "allowed": ""},
        {"model": "one", "repetition_window": 0}, {"model": "one", "states": 1},
    ],
    "activations": [{"model": "one", "text": "a"}, {"model": "one", "text": "a", "layer": -1}],
    "states": [{"model": "one"}, {"model": "one", "text": "a", "layer": 0}],
    "score": [{"model": "one"}, {"model": "one", "text": None}, {"model": "one", "text": "a", "alternatives": 21}],
    "copied": [{"model": "one"}, {"model": "one", "text": "a", "at_least": 0}],
    "cells_of": [{}],
    "complete": [{"model": "one", "prompt": 5}, {"model": "one", "n": 0}, {"model": "one", "top_p": -1}],
    "chat": [{"model": "one"}, {"model": "one", "messages": []}, {"model": "one", "messages": [{"content": "a"}]}],
    "tokenize": [{}],
    "detokenize": [{"tokens": [-1]}],
}  # fmt: skip


def mistakes(schema: dict[str, Any], value: Any) -> list[str]:
    """Violations of a JSON schema of the document."""
    validator = Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    return [error.message for error in validator.iter_errors(value)]


def reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def test_the_routes_are_those_described(served: Serving) -> None:
    routes = {
        (method, route.path)
        for route in served.app.routes
        if isinstance(route, Route) and route.path != "/" and not route.path.startswith("/static/")
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert routes == {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert len(routes) == len(OPERATIONS)
    assert served.http.get("/api/openapi.json").json() == DOCUMENT


def test_the_request_has_the_fields_of_the_strategy() -> None:
    """Those that a model's configuration has too are null, which means the model's own."""
    ours, its = schema.GenerateRequest(model="m"), Strategy()
    for name in Strategy.__dataclass_fields__:
        assert getattr(ours, name) == (None if name in NUMBERS else getattr(its, name))
    assert DOCUMENT["components"]["schemas"]["GenerateRequest"]["properties"]["temperature"]["default"] is None


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.body], ids=lambda each: each.name)
def test_description_and_server_agree_on_valid_bodies(served: Serving, operation: Any) -> None:
    described = DOCUMENT["paths"][operation.address]["post"]["requestBody"]["content"]["application/json"]["schema"]
    path = operation.address.format(name="one")
    for body in SAMPLES[operation.name]:
        assert mistakes(described, body) == []
        assert served.http.post(path, json=body).status_code == 200
    for body in WRONG[operation.name]:
        assert mistakes(described, body), body
        assert served.http.post(path, json=body).status_code == (400 if operation.prefix == "/v1" else 422), body


def test_answers_are_as_described(served: Serving) -> None:
    for operation in OPERATIONS:
        path = operation.address.format(name="one")
        for body in SAMPLES.get(operation.name, [None]):
            answer = served.http.request(operation.method, path, json=body)
            described = DOCUMENT["paths"][operation.address][operation.method.lower()]["responses"]
            assert answer.headers["content-type"].startswith(operation.media_type)
            if operation.answer:
                content = described["200"]["content"]["application/json"]["schema"]
                assert mistakes(content, answer.json()) == [], operation.name
        if operation.body:
            refused = served.http.post(path, json={})
            assert (
                mistakes(described[str(refused.status_code)]["content"]["application/json"]["schema"], refused.json())
                == []
            )


def test_events_are_as_described(served: Serving) -> None:
    models = {"start": schema.StartEvent, "": schema.CharactersEvent, "done": schema.DoneEvent}
    for body in SAMPLES["generate"]:
        for name, data in served.generate(**{key: value for key, value in body.items() if key != "model"}):
            assert mistakes(reference(models[name]), data) == []
    assert mistakes(reference(schema.ErrorEvent), {"message": "x"}) == []


def test_every_reference_has_a_schema() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [found for part in value.values() for found in references(part)]
        return [found for part in value for found in references(part)] if isinstance(value, list) else []

    names = {reference.removeprefix("#/components/schemas/") for reference in references(DOCUMENT)}
    assert len(names) > 10
    assert names <= set(DOCUMENT["components"]["schemas"])
