"""Who may ask, and what a browser may do with the answer.

A page of any other site can make its visitor's browser send requests to this machine. Browsers say where a request
comes from (Origin, Sec-Fetch-Site), and what name it was sent to (Host): a name of someone else's that leads here (DNS
rebinding) is none of the server's.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from char_rnn.playground.errors import ApiError

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
ONCE = (  # a second one of these could be read by one part of the program and ignored by another
    "content-length",
    "content-type",
    "host",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-site",
    "transfer-encoding",
)
LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))

_logger = logging.getLogger("char_rnn")


class Guard:
    """Refuses what comes from other sites, and gives each answer the headers that keep it to this one.

    Args:
        app: What is guarded.
        host: The address the server is bound to. It also goes by the number that a connection came to; bound to every
            address of the machine, by any number and by the machine's name. A number cannot be rebound.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1") -> None:
        self._app = app
        self._everywhere = host in ("0.0.0.0", "::", "")
        self._names = LOCAL | ({socket.gethostname().lower()} if self._everywhere else {host.lower()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        unread = _has_body(scope)

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
                if unread:
                    headers["connection"] = "close"  # the rest of the body is not waited for
            await send(message)

        try:
            _check_size(scope)
            here, _ = scope.get("server") or ("", None)
            self.check(scope["method"], scope["path"], Headers(scope=scope), here)
            await self._app(scope, received, guarded)
        except ApiError as error:
            await error.response()(scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception as error:
            _logger.exception("%s %s", scope["method"], scope["path"])
            if not started:
                message = f"{type(error).__name__} (a mistake in char-rnn; the server's standard error shows where)"
                await ApiError(500, message).response()(scope, receive, guarded)

    def check(self, method: str, path: str, headers: Headers, here: str = "") -> None:
        """Raise `ApiError` for a request that another site has a hand in.

        Args:
            method: Of the request.
            path: Of its address.
            headers: All of them.
            here: The number that the connection came to.
        """
        for name in ONCE:
            if len(headers.getlist(name)) > 1:
                raise ApiError(400, f"{name.title()}: must be given once")
        host = headers.get("host")
        if host is None:
            raise ApiError(400, "Host: must be given once")
        if not self._is_own(host, here):
            raise ApiError(403, f"Host {host[:100]!r}: is not this server; open it by the address it printed")
        origin = headers.get("origin")
        if origin is not None and (_netloc(origin) != host.lower() or urlsplit(origin).scheme not in ("http", "https")):
            raise ApiError(403, f"Origin {origin[:100]!r}: only the server's own page may ask")
        if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
            return
        if method != "GET" or path.startswith("/api/") or headers.get("sec-fetch-dest") != "document":
            raise ApiError(403, "Sec-Fetch-Site: only the server's own page may ask")  # a link to the page is no harm

    def _is_own(self, host: str, here: str) -> bool:
        name = hostname(host)
        return name is not None and (
            name in self._names or (_is_address(name) and (self._everywhere or name == here.lower()))
        )


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") and value != b"0" for name, value in scope["headers"])


def _check_size(scope: Scope) -> None:
    size = (
        len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name + value) for name, value in scope["headers"])
    )
    if size > LONGEST_HEAD:
        raise ApiError(431, f"address and headers: at most {LONGEST_HEAD:,} bytes; given {size:,}")


def hostname(host: str) -> str | None:
    """Return the name in a Host header, without port and brackets; ``None`` if it is no such header."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def _netloc(origin: str) -> str | None:
    """Return host and port of an Origin header; ``None`` if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
