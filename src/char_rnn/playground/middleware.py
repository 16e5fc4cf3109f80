"""The middleware that checks the host and origin of requests, and adds the security headers to answers.

A page of any other site can make its visitor's browser send requests to this machine. Browsers report where a request
comes from (Origin, Sec-Fetch-Site) and the name in its address (Host). Someone else's name that leads here (DNS
rebinding) is refused.

Starlette's TrustedHostMiddleware compares Host with a fixed list. It cannot allow every IP address, nor the one that a
connection arrived at; it does not compare Origin with Host or notice a second Host; its answers are not JSON.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from char_rnn.playground.messages import ApiError, refuse

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
LONGEST_HEAD = 16_384  # bytes of a request's address and headers
# Headers of which one part of the program could read the first of two, another part the second.
ONCE = ("content-length", "content-type", "host", "origin", "sec-fetch-dest", "sec-fetch-site", "transfer-encoding")
LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))


class Guard:
    """Middleware that refuses requests of other sites, and adds the security headers to each answer.

    Requests name the address that the server is bound to (`host`), or the IP address that they arrived at; if the
    server is bound to all addresses, any IP address or the machine's name. An IP address cannot be rebound.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1") -> None:
        self._app = app
        self._everywhere = host in ("0.0.0.0", "::", "")
        self._names = LOCAL | ({socket.gethostname().lower()} if self._everywhere else {host.lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sizes = (value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding"))
        unread = any(value != b"0" for value in sizes)

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
                if unread:
                    headers["connection"] = "close"  # without waiting for the rest of the body
            await send(message)

        app = self._app
        try:
            _check_size(scope)
            here, _ = scope.get("server") or ("", None)
            self.check(scope["method"], scope["path"], Headers(scope=scope), here)
        except ApiError as error:
            app = await refuse(Request(scope), error)
        await app(scope, received, guarded)

    def check(self, method: str, path: str, headers: Headers, here: str = "") -> None:
        """Raise `ApiError` for a request in which another site may have a part; `here`: IP address it arrived at."""
        for name in ONCE:
            if len(headers.getlist(name)) > 1:
                raise ApiError(400, f"{name.title()}: must be given once")
        host = headers.get("host")
        if host is None:
            raise ApiError(400, "Host: must be given once")
        if not self._is_own(host, here):
            raise ApiError(403, f"Host {host[:100]!r}: not this server; open the address that it printed")
        origin = headers.get("origin")
        if origin is not None and not _is_same(origin, host):
            raise ApiError(403, f"Origin {origin[:100]!r}: only the server's own page may send requests")
        if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
            return
        if method != "GET" or path.startswith("/api/") or headers.get("sec-fetch-dest") != "document":
            raise ApiError(403, "Sec-Fetch-Site: only the server's own page may send requests")  # links are harmless

    def _is_own(self, host: str, here: str) -> bool:
        parts = _split(f"//{host}")
        if parts is None or parts.netloc != host or "@" in host or parts.hostname is None:
            return False
        if parts.hostname in self._names:
            return True
        return _is_address(parts.hostname) and (self._everywhere or parts.hostname == here.lower())


def _check_size(scope: Scope) -> None:
    headers = sum(len(name + value) for name, value in scope["headers"])
    size = len(scope["raw_path"]) + len(scope["query_string"]) + headers
    if size > LONGEST_HEAD:
        raise ApiError(431, f"address and headers: at most {LONGEST_HEAD:,} bytes; given {size:,}")


def _is_same(origin: str, host: str) -> bool:
    parts = _split(origin)
    return parts is not None and parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _split(address: str) -> SplitResult | None:
    """Split an address into its parts; ``None`` if it is invalid."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
