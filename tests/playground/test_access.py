"""API keys, allowed origins and allowed names of the server."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

import pytest
from playground_helpers import Serving, exchange, model_file, serving

from char_rnn.playground.access import Access
from char_rnn.playground.middleware import POLICY

KEY = "sesame-42"
ORIGIN = "https://chat.example.org"
CORS = {
    "access-control-allow-origin": ORIGIN,
    "access-control-expose-headers": "retry-after",
    "vary": "Origin",
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Serving]:
    """A server with a key, an allowed origin and another name."""
    access = Access(KEY, (ORIGIN, "http://localhost:3000"), ("Host.docker.internal",))
    with serving({"one": model_file()}, access=access) as now:
        yield now


@pytest.mark.parametrize("given", ["", "a b", "ключ", "a\n"], ids=ascii)
def test_keys_that_no_client_could_send(given: str) -> None:
    with pytest.raises(ValueError, match=r"^api-key: must be printable ASCII characters without spaces"):
        Access(given)


@pytest.mark.parametrize(
    "given",
    ["*", "null", "", "chat.example.org", "https://", "https://a.b/", "https://a.b/path", "https://a.b?c", "https://*.b",
     "https://a@b.c", "https://a.b:port", "https://a.b c", "//a.b", "https://a.b#", "https://bücher.example"],
    ids=ascii,
)  # fmt: skip
def test_invalid_origins(given: str) -> None:
    with pytest.raises(ValueError, match=r"^allow-origin '.*': must be a scheme and one host, such as https://"):
        Access(origins=(given,))


@pytest.mark.parametrize("given", ["", "*", "a b", "http://a.b", "a.b:80", "a/b", "-a", "[::1"], ids=ascii)
def test_invalid_hosts(given: str) -> None:
    with pytest.raises(ValueError, match=r"^allow-host '.*': must be a name without scheme and port"):
        Access(hosts=(given,))


def test_origins_and_hosts_are_compared_as_browsers_send_them() -> None:
    given = (
        "HTTPS://Chat.Example.org:443",
        "http://a.b:8080",
        "http://[::1]:80",
        "chrome-extension://abc",
        "http://10.0.0.1",
    )
    access = Access(origins=given, hosts=("NAS.local", "10.0.0.7"))
    assert access.origins == (ORIGIN, "http://a.b:8080", "http://[::1]", "chrome-extension://abc", "http://10.0.0.1")
    assert access.hosts == ("nas.local", "10.0.0.7")


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY}", 200),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY[:-1]}", 401),
        ("Bearer", 401),
        (KEY, 401),
        (f"Basic {KEY}", 401),
        ("Bearer é", 401),
        (None, 401),
    ],
    ids=ascii,
)
def test_a_key_opens_the_api(guarded: Serving, authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode()}
    answer = guarded.http.get("/api/models", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert (
            answer.json()["error"]["message"] == "Authorization: must be 'Bearer KEY' with the API key of this server"
        )


def test_what_is_open_without_a_key(guarded: Serving) -> None:
    for path in ("/", "/static/app.js", "/api/health"):
        assert guarded.http.get(path).status_code == 200
    for path in ("/api/metrics", "/api/openapi.json", "/api/health/", "/static", "/none", "/api/models/one/cells"):
        assert guarded.http.get(path).status_code == 401, path
    for path in ("/api/generate", "/api/score", "/api/activations"):
        assert guarded.post(path, text="a").status_code == 401, path


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: bool(compared.append(both)))
    assert not Access(KEY).opens("Bearer no")
    assert compared == [(b"no", KEY.encode())]


def test_without_a_key_authorization_is_ignored(served: Serving) -> None:
    assert served.http.get("/api/models", headers={"authorization": "Bearer anything"}).status_code == 200


def test_a_preflight_needs_no_key(guarded: Serving) -> None:
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        "access-control-request-private-network": "true",
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "cors",
    }
    answer = guarded.http.options("/api/generate", headers=asked)
    assert answer.status_code == 204
    assert {name: answer.headers[name] for name in CORS} == CORS
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert answer.headers["access-control-max-age"] == "600"
    other = guarded.http.options("/api/generate", headers={**asked, "origin": "https://evil.example"})
    assert other.status_code == 403
    assert not [name for name in other.headers if name.startswith("access-control")]


def test_an_allowed_origin_reads_answers_and_errors(guarded: Serving) -> None:
    headers = {"origin": ORIGIN, "sec-fetch-site": "cross-site", "authorization": f"Bearer {KEY}"}
    answer = guarded.http.post("/api/score", json={"text": "a"}, headers=headers)
    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in CORS} == CORS
    for refused, status in (
        (guarded.http.post("/api/score", json={"text": 1}, headers=headers), 422),
        (guarded.http.get("/api/models", headers={"origin": ORIGIN}), 401),
        (guarded.http.get("/api/none", headers=headers), 404),
    ):
        assert refused.status_code == status
        assert refused.headers["access-control-allow-origin"] == ORIGIN
    own = guarded.http.get("/api/models", headers={"authorization": f"Bearer {KEY}"})
    assert own.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in own.headers


def test_frames_of_allowed_origins(guarded: Serving, served: Serving) -> None:
    framed = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate"}
    answer = guarded.http.get("/", headers=framed)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY.replace(
        "frame-ancestors 'none'", f"frame-ancestors {ORIGIN} http://localhost:3000"
    )
    assert "x-frame-options" not in answer.headers
    assert guarded.http.get("/api/health", headers=framed).status_code == 403
    assert served.http.get("/", headers=framed).status_code == 403
    assert guarded.http.get("/static/app.js", headers={**framed, "sec-fetch-dest": "script"}).status_code == 403


def test_another_name_of_the_server(guarded: Serving) -> None:
    for host, status in (
        ("host.docker.internal:8015", b"200"),
        ("HOST.docker.internal", b"200"),
        ("docker.internal", b"403"),
    ):
        answer = exchange(guarded.port, f"GET /api/health HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        assert answer.split()[1] == status
    head = "GET / HTTP/1.1\r\nhost: host.docker.internal\r\norigin: http://host.docker.internal\r\n\r\n"
    assert exchange(guarded.port, head.encode()).split()[1] == b"200"
