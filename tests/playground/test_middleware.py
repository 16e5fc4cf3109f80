"""Requests of other sites are refused by host, headers and addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playground_helpers import Serving, exchange
from starlette.datastructures import Headers

from char_rnn.playground.messages import ApiError
from char_rnn.playground.middleware import POLICY, Guard


def request(served: Serving, headers: dict[str, str], path: str = "/api/health") -> tuple[int, Any]:
    lines = "".join(f"{name}: {value.format(port=served.port)}\r\n" for name, value in headers.items())
    answer = exchange(served.port, f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:{port}", "LOCALHOST:{port}", "[::1]:{port}", "localhost:9"], ids=str
)
def test_host_names_of_the_server(served: Serving, host: str) -> None:
    assert request(served, {"host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example:{port}", "127.0.0.1.evil.example", "10.0.0.1", "a@localhost", "[::1",
     ":80", "localhost:port", "localhost/x", ""],
    ids=str,
)  # fmt: skip
def test_other_host_names(served: Serving, host: str) -> None:
    status, answer = request(served, {"host": host})
    assert status == 403
    assert answer["error"]["message"].startswith("Host ")


def test_exactly_one_host_header(served: Serving) -> None:
    assert request(served, {})[0] == 400
    assert request(served, {"host": "localhost", "Host": "evil.example"})[0] == 400


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("Origin", "http://127.0.0.1:{port}", "http://evil.example"),
        ("Origin", "http://127.0.0.1:{port}", "http://127.0.0.1:{port}"),
        ("Sec-Fetch-Site", "same-origin", "cross-site"),
        ("Sec-Fetch-Dest", "document", "script"),
        ("Content-Type", "application/json", "text/plain"),
        ("Authorization", "Bearer a", "Bearer b"),
    ],
)
def test_repeated_headers(served: Serving, name: str, first: str, second: str) -> None:
    headers = {"host": "127.0.0.1:{port}", name: first, name.lower(): second}
    status, answer = request(served, headers)
    assert (status, answer["error"]["message"]) == (400, f"{name}: must be given once")


def test_two_lengths_of_a_body(served: Serving) -> None:
    head = "POST /api/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    answer = exchange(served.port, f"{head}content-length: 2\r\nContent-Length: 99\r\n\r\n{{}}".encode())
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:{port}"}, 200),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://localhost:{port}"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "ftp://127.0.0.1:{port}"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, 403),
    ],
    ids=str,
)
def test_other_sites(served: Serving, headers: dict[str, str], status: int) -> None:
    assert request(served, {"host": "127.0.0.1:{port}", **headers})[0] == status


def test_other_sites_may_link_to_the_page(served: Serving) -> None:
    headers = {"host": "localhost", "sec-fetch-site": "cross-site"}
    assert request(served, {**headers, "sec-fetch-dest": "document"}, "/")[0] == 200
    assert request(served, {**headers, "sec-fetch-dest": "iframe"}, "/")[0] == 403
    assert request(served, {**headers, "sec-fetch-dest": "script"}, "/static/app.js")[0] == 403


def test_a_server_bound_to_a_name_also_answers_to_its_address() -> None:
    """`address_of` prints this address."""

    async def app(*_: object) -> None:
        """Not called."""

    guard = Guard(app, "box.lan")
    for host in ("box.lan:8015", "192.168.1.5:8015"):
        guard.check("GET", "/", Headers({"host": host}), "192.168.1.5")
    for host, here in (("192.168.1.6:8015", "192.168.1.5"), ("evil.example", "evil.example")):
        with pytest.raises(ApiError, match="not this server"):
            guard.check("GET", "/", Headers({"host": host}), here)


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("192.168.1.5", "192.168.1.5:8015", True),
        ("192.168.1.5", "192.168.1.6:8015", False),
        ("box.lan", "BOX.lan", True),
        ("0.0.0.0", "192.168.1.6", True),
        ("0.0.0.0", "[fe80::1]:8015", True),
        ("::", "10.0.0.1:80", True),
        ("0.0.0.0", "evil.example", False),
        ("127.0.0.1", "0.0.0.0", False),
    ],
)
def test_host_names_of_other_bound_addresses(bound: str, host: str, allowed: bool) -> None:
    async def app(*_: object) -> None:
        """Not called."""

    guard = Guard(app, bound)
    if allowed:
        guard.check("GET", "/", Headers({"host": host}))
    else:
        with pytest.raises(ApiError, match="not this server"):
            guard.check("GET", "/", Headers({"host": host}))


@pytest.mark.parametrize("path", ["/", "/api/models", "/static/none", "/api/generate"])
def test_every_answer_has_the_security_headers(served: Serving, path: str) -> None:
    headers = served.http.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_refusal_has_the_security_headers(served: Serving) -> None:
    answer = exchange(served.port, b"OPTIONS /api/models HTTP/1.1\r\nhost: evil\r\norigin: http://evil\r\n\r\n").lower()
    assert answer.startswith(b"http/1.1 403")
    assert b"content-security-policy" in answer
    assert b"access-control" not in answer
