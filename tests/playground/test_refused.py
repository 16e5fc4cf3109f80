"""Refused requests: malformed, too large, too many."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

import pytest
from playground_helpers import WAIT, Serving, exchange, model_file, serving

from char_rnn.playground.middleware import POLICY
from char_rnn.playground.schema import Limits

GENERATE = "/api/generate"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b"\xff", 400, "not valid JSON"),
        (b'{"model": "one", "temperature": NaN}', 400, "NaN is not a JSON number"),
        (b"[" * 60_000, 400, "not valid JSON"),
        (b'{"model": "one", "seed": ' + b"1" * 5000 + b"}", 400, "not valid JSON"),
        (b"[]", 422, "must be a JSON object"),
        (b"null", 422, "must be a JSON object"),
    ],
    ids=range(8),
)  # fmt: skip
def test_invalid_json(served: Serving, body: bytes, status: int, words: str) -> None:
    answer = served.http.post(GENERATE, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert "\n" not in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": 1}, "model"),
        ({"lenght": 5}, "lenght"),
        ({"length": -1}, "length"),
        ({"length": 3001}, "length"),
        ({"length": 10**300}, "length"),
        ({"a\nb": 1}, "a\\nb"),
        ({"x" * 5000: 1}, "x" * 60 + "..."),
        ({"unit": {"layer": 10**300, "index": 0}}, "unit.layer"),
        ({"length": "5"}, "length"),
        ({"length": 1.5}, "length"),
        ({"length": True}, "length"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"prime": "a" * 2001}, "prime"),
        ({"prime": None}, "prime"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": "a"}, "stop"),
        ({"unknown": "guess"}, "unknown"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 1e400}, "temperature"),
        ({"final_temperature": -1}, "final_temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": 2}, "min_p"),
        ({"typical_p": 0}, "typical_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_window": -1}, "repetition_window"),
        ({"allowed": ""}, "allowed"),
        ({"alternatives": 21}, "alternatives"),
        ({"unit": {"layer": 2, "index": 0}}, "unit.layer"),
        ({"unit": {"layer": 0, "index": 12}}, "unit.index"),
        ({"unit": {"layer": 0}}, "unit.index"),
        ({"unit": [0, 1]}, "unit"),
    ],
    ids=str,
)
def test_an_invalid_field_is_named(served: Serving, change: dict[str, Any], field: str) -> None:
    content = json.dumps({"model": "one", "length": 5, **change}).replace("Infinity", "1e400")
    answer = served.http.post(GENERATE, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.read()
    error = answer.json()["error"]
    assert error["field"] == field
    assert error["message"].startswith(f"{field}")
    assert len(error["message"]) < 250
    assert "\n" not in error["message"]


def test_a_misspelt_field_leads_to_the_right_one(served: Serving) -> None:
    error = served.post(GENERATE, model="one", lenght=5).json()["error"]
    assert error == {"message": "lenght: no such field; did you mean length?", "field": "lenght"}


def test_half_a_surrogate_pair_as_a_field_name(served: Serving) -> None:
    content = b'{"model": "one", "\\ud800": 1}'
    answer = served.http.post(GENERATE, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] is None
    assert answer.json()["error"]["message"].startswith("a field name: ")


def test_half_a_surrogate_pair_in_a_prime(served: Serving) -> None:
    body = b'{"model": "one", "prime": "a\\ud800b\\udc80", "length": 0}'
    answer = served.http.post(GENERATE, content=body, headers={"content-type": "application/json"})
    assert '{"prime":"ab","substitutions":[["\\\\ud800",""],["\\\\udc80",""]]}' in answer.text
    answer = served.http.post(
        GENERATE, content=body.replace(b"one", b"\\ud800"), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 404


def test_unknown_models_units_and_long_texts(served: Serving) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "generate": {},
        "score": {"text": "a"},
        "activations": {"text": "a", "layer": 0},
    }
    for path, body in bodies.items():
        answer = served.post(f"/api/{path}", model="../one", **body)
        assert answer.status_code == 404
        assert answer.json()["error"]["field"] == "model"
        assert "the models are one, bytes" in answer.json()["error"]["message"]
        answer = served.post(f"/api/{path}", **body)
        assert answer.status_code == 422
        assert answer.json()["error"] == {"message": "model: must be one of one, bytes", "field": "model"}
    assert served.http.get("/api/models/..%2Fone/cells").status_code == 404
    unknown = served.http.get("/api/models/none/cells")
    assert (unknown.status_code, unknown.json()["error"]["field"]) == (404, None)
    assert served.post("/api/models/none/cells", text="a" * 60).status_code == 404
    assert served.post("/api/models/one/cells", text="a" * 49).json()["error"]["field"] == "text"
    assert served.post("/api/activations", model="one", text="a", layer=2).json()["error"]["field"] == "layer"
    assert served.post("/api/activations", model="one", text="a", layer=0, unit=12).json()["error"]["field"] == "unit"
    assert served.post("/api/score", model="one", text="a" * 2001).json()["error"]["field"] == "text"


def test_methods_and_types(served: Serving) -> None:
    answer = served.http.get(GENERATE)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["message"] == "this address does not accept this method"
    assert served.http.delete("/api/models").status_code == 405
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        answer = served.http.post(GENERATE, content=b'{"model": "one"}', headers={"content-type": kind})
        assert answer.status_code == 415, kind
    assert served.http.post(GENERATE, content=b'{"model": "one"}').status_code == 415


def test_an_unexpected_error(
    served: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("char_rnn.playground.api.spelled", lambda *_: {}["x"])
    answer = served.post(GENERATE, model="one")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"].startswith("KeyError (a mistake in char-rnn; the server's standard error")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["connection"] == "close"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]
    assert served.http.get("/api/health").status_code == 200


def test_a_body_that_is_too_large(served: Serving) -> None:
    most = served.http.get("/api/models").json()["limits"]["body"]
    answer = served.http.post(GENERATE, content=b" " * (most + 1), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    pieces = (b" " * 10_000 for _ in range(most // 10_000 + 2))  # chunked: without a content-length
    answer = served.http.post(GENERATE, content=pieces, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    longest = {"model": "one", "prime": "\N{GRINNING FACE}" * 2000, "length": 0}
    assert served.http.post(GENERATE, json=longest).status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999", "0x10", "9" * 5000])
def test_invalid_content_lengths(served: Serving, length: str) -> None:
    head = f"POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    answer = exchange(served.port, f"{head}content-length: {length}\r\n\r\n{{}}".encode())
    assert answer.split()[1] in (b"400", b"413")


def test_an_unread_body_is_not_awaited(served: Serving, caplog: pytest.LogCaptureFixture) -> None:
    for start, status in (("POST /api/generate", b"415"), ("GET /api/health", b"200"), ("POST /api/none", b"404")):
        with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT) as connection:
            head = f"{start} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n"
            connection.sendall(head.encode())
            answer = b""
            with suppress(OSError):  # a reset connection
                while piece := connection.recv(65536):
                    answer += piece
                    connection.sendall(b"no chunk\r\n")
        assert answer.split()[1] == status
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_headers_that_are_too_large(served: Serving) -> None:
    answer = exchange(served.port, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 100_000 + b"\r\n\r\n")
    assert answer.split()[1] == b"431"
    answer = exchange(served.port, b"GET /?" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert answer.split()[1] == b"431"
    assert exchange(served.port, b"\x16\x03\x01 no HTTP at all\r\n\r\n").split()[1] == b"400"
    assert served.http.get("/api/health").status_code == 200


def test_a_body_that_does_not_arrive() -> None:
    with serving({"one": model_file()}, Limits(seconds_body=0.05)) as now:
        head = f"POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        answer = exchange(now.port, f"{head}content-length: 100\r\n\r\n{{".encode())
        assert answer.split()[1] == b"400"
        assert b"did not arrive within 0.05 seconds" in answer
        assert now.http.get("/api/health").status_code == 200


def test_activations_of_a_layer_are_bounded() -> None:
    with serving({"one": model_file()}, Limits(numbers=120)) as now:
        assert now.post("/api/activations", model="one", text="a" * 10, layer=0).status_code == 200
        refused = now.post("/api/activations", model="one", text="a" * 11, layer=0)
        assert refused.status_code == 422
        assert refused.json()["error"]["message"] == "text: at most 10 characters if unit is missing; given 11"
        assert now.post("/api/activations", model="one", text="a" * 11, layer=0, unit=0).status_code == 200
