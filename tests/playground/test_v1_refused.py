"""Refused requests under /v1: as OpenAI's API answers them."""

from __future__ import annotations

from typing import Any

import pytest
from playground_helpers import Serving, eventually, exchange, model_file, serving

from char_rnn.playground.access import Access
from char_rnn.playground.schema import Limits

CHAT = {"messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize(
    ("path", "change", "param", "words"),
    [
        ("completions", {"prompt": [1, 2]}, "prompt", "token numbers are not accepted: this model reads characters"),
        ("completions", {"prompt": [[1], [2]]}, "prompt", "lists of token numbers are not accepted"),
        ("completions", {"prompt": []}, "prompt", "must be a text or a list of texts"),
        ("completions", {"prompt": 5}, "prompt", "must be a text or a list of texts"),
        ("completions", {"prompt": "a" * 2001}, "prompt", "at most 2,000 characters; given 2,001"),
        ("completions", {"prompt": ["a"] * 9, "n": 2}, "n", "at most 16 texts in a request; given 18"),
        ("completions", {"n": 2, "best_of": 17}, "n", "at most 16 texts in a request; given 17"),
        ("completions", {"max_tokens": 3000, "n": 5, "logprobs": 20}, "logprobs", "in an answer; given 300,000"),
        ("completions", {"prompt": "a" * 2000, "n": 8, "logprobs": 16, "echo": True, "stream": True}, "logprobs",
         "given 256,000"),
        ("completions", {"n": 3, "best_of": 2}, "best_of", "must be at least n (3); given 2"),
        ("completions", {"best_of": 2, "stream": True}, "best_of", "must equal n (1) in a stream; given 2"),
        ("completions", {"n": 0}, "n", "greater than or equal to 1"),
        ("completions", {"max_tokens": 3001}, "max_tokens", "at most 3,000; given 3,001"),
        ("completions", {"max_tokens": -1}, "max_tokens", "greater than or equal to 0"),
        ("completions", {"logprobs": 21}, "logprobs", "less than or equal to 20"),
        ("completions", {"temperature": -0.5}, "temperature", "greater than or equal to 0"),
        ("completions", {"top_p": 1.5}, "top_p", "less than or equal to 1"),
        ("completions", {"seed": -2}, "seed", "greater than or equal to -1"),
        ("completions", {"stop": ["a"] * 17}, "stop", "at most 16 items"),
        ("completions", {"stop": [1]}, "stop", "must be a text or a list of texts"),
        ("completions", {"suffix": "b"}, "suffix", "input should be ''"),
        ("completions", {"presence_penalty": 3}, "presence_penalty", "less than or equal to 2"),
        ("completions", {"banned": "abcdefgh \n\".,'é"}, None, "leave no character"),
        ("chat/completions", {"messages": []}, "messages", "at least 1 item"),
        ("chat/completions", {"messages": None}, "messages", "field required"),
        ("chat/completions", {"messages": "a"}, "messages", "valid list"),
        ("chat/completions", {"messages": [{"content": "a"}]}, "messages.0.role", "field required"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
         "messages.0.content", "must be a text, or a list of parts of type text"),
        ("chat/completions", {**CHAT, "max_tokens": 3001}, "max_tokens", "at most 3,000"),
        ("chat/completions", {**CHAT, "n": 17}, "n", "at most 16 texts"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_an_invalid_field_is_named(
    served: Serving, path: str, change: dict[str, Any], param: str | None, words: str
) -> None:
    answer = served.post(f"/v1/{path}", model="one", **change)
    assert answer.status_code == 400, answer.read()
    error = answer.json()["error"]
    assert error | {"message": ""} == {"message": "", "type": "invalid_request_error", "param": param, "code": None}
    assert words in error["message"]
    assert "\n" not in error["message"]
    assert len(error["message"]) < 250


def test_an_unknown_model(served: Serving) -> None:
    expected = {
        "message": "model 'gpt-4o': not served here; the models are one, bytes",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    for answer in (
        served.post("/v1/completions", model="gpt-4o"),
        served.post("/v1/chat/completions", model="gpt-4o", **CHAT),
        served.http.get("/v1/models/gpt-4o"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, expected)
    several = served.post("/v1/completions", prompt="a")
    assert (several.status_code, several.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/", 404),
        ("POST", "/v1/completions/", 404),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/v1/completions", 405),
        ("POST", "/v1/completions", 415),
    ],
)
def test_addresses_and_methods(served: Serving, method: str, path: str, status: int) -> None:
    """Without redirects to an address with another number of slashes."""
    answer = served.http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_missing_key() -> None:
    with serving({"one": model_file()}, access=Access("sesame")) as now:
        for headers in ({}, {"authorization": "Bearer sk-other"}):
            for answer in (
                now.http.get("/v1/models", headers=headers),
                now.http.post("/v1/completions", json={"prompt": "a"}, headers=headers),
            ):
                assert answer.status_code == 401
                error = answer.json()["error"]
                assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        headers = {"authorization": "Bearer sesame"}
        assert now.http.post("/v1/completions", json={"prompt": "a"}, headers=headers).status_code == 200
        assert now.http.get("/tokenizer_info").status_code == 401


def test_all_rows_are_in_use() -> None:
    with serving({"one": model_file()}, Limits(length=10**9, streams=4)) as now:
        body = {"prompt": "a", "max_tokens": 10**9, "stream": True}
        with now.http.stream("POST", "/v1/completions", json={**body, "n": 3}) as stream:
            pieces = stream.iter_raw()
            assert next(pieces)
            refused = now.post("/v1/completions", prompt="a", n=2)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            error = refused.json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert (
                "3 texts are being written or read already, and 2 more do not fit; try again soon" in error["message"]
            )
            assert now.post("/v1/completions", prompt="a").status_code == 200
        eventually(now.is_idle)
        assert now.post("/v1/completions", prompt="a", n=4).status_code == 200


def test_other_sites(served: Serving) -> None:
    head = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n"
    answer = exchange(served.port, head.encode())
    assert answer.startswith(b"HTTP/1.1 403")
    assert b'"type":"invalid_request_error"' in answer
    for headers in ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, {"sec-fetch-site": "same-site"}):
        assert served.http.get("/v1/models", headers=headers).status_code == 403


def test_a_body_that_is_too_large(served: Serving) -> None:
    headers = {"content-type": "application/json"}
    most = served.http.get("/api/models").json()["limits"]["body"]
    assert served.http.post("/v1/completions", content=b" " * (8 * most + 1), headers=headers).status_code == 413
    assert (
        served.post("/v1/completions", model="one", prompt=["\N{GRINNING FACE}" * 2000] * 16, max_tokens=0).status_code
        == 200
    )
