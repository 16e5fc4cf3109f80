"""The middleware that checks the host and origin of requests, and adds the security headers to answers.

A page of any other site can make its visitor's browser send requests to this machine. Browsers report where a request
comes from (Origin, Sec-Fetch-Site) and the name in its address (Host). Someone else's name that leads here (DNS
rebinding) is refused.

Starlette's TrustedHostMiddleware compares Host with a fixed list. It cannot allow every IP address, nor the one that a
connection arrived at; it does not compare Origin with Host or notice a second Host; its answers are not JSON.
Starlette's CORSMiddleware does not refuse the requests of other origins; it only leaves out the headers.
"""

from __future__ import annotations

import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from char_rnn.playground.access import Access, is_address, split
from char_rnn.playground.messages import ApiError, refuse

POLICY = "; ".join(
    (
        "frame-ancestors 'none'",
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
# Headers that must not be repeated: one part of the program could read the first, another the second.
ONCE = (
    "authorization", "content-length", "content-type", "host", "origin", "sec-fetch-dest", "sec-fetch-site",
    "transfer-encoding",
)  # fmt: skip
LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))
HEALTH = "/api/health"  # answered without a key
SECONDS_PREFLIGHT = "600"  # for which a browser remembers the answer to a preflight


class Guard:
    """Middleware that refuses requests of other sites or without the key, and adds the security headers to each answer.

    Requests name the address that the server is bound to (`host`), or the IP address that they arrived at; if the
    server is bound to all addresses, any IP address or the machine's name. An IP address cannot be rebound. `access`
    allows more origins (CORS, frames) and names.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", access: Access = Access()) -> None:  # noqa: B008 (frozen)
        self._app, self._access = app, access
        self._everywhere = host in ("0.0.0.0", "::", "")
        self._names = LOCAL | ({socket.gethostname().lower()} if self._everywhere else {host.lower()})
        self._names |= set(access.hosts)
        self._headers = HEADERS.copy()
        if access.origins:  # X-Frame-Options cannot list origins
            self._headers["content-security-policy"] = POLICY.replace("'none'", " ".join(access.origins), 1)
            self._headers["vary"] = "Origin"
            del self._headers["x-frame-options"]

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
                headers.update(self._headers)
                headers.update(self._cors_headers(given))
                headers.setdefault("cache-control", "no-store")
                if unread:
                    headers["connection"] = "close"  # without waiting for the rest of the body
            await send(message)

        app, given = self._app, Headers(scope=scope)
        try:
            _check_size(scope)
            here, _ = scope.get("server") or ("", None)
            self.check(scope["method"], scope["path"], given, here)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in given:
                app = Response(status_code=204, headers=_preflight_headers(given))  # browsers send no key with it
            else:
                self._check_key(scope["path"], given)
        except ApiError as error:
            app = await refuse(Request(scope), error)
        await app(scope, received, guarded)

    def check(self, method: str, path: str, headers: Headers, here: str = "") -> None:
        """Raise `ApiError` for a request that another site may have caused; `here`: IP address it arrived at."""
        for name in ONCE:
            if len(headers.getlist(name)) > 1:
                raise ApiError(400, f"{name.title()}: must be given once")
        host = headers.get("host")
        if host is None:
            raise ApiError(400, "Host: must be given once")
        if not self._is_own(host, here):
            hint = "open the address that it printed, or allow the name with --allow-host"
            raise ApiError(403, f"Host {host[:100]!r}: not this server; {hint}")
        origin = headers.get("origin")
        if origin is not None and not _is_same(origin, host):
            if origin in self._access.origins:
                return
            raise ApiError(
                403, f"Origin {origin[:100]!r}: not the server's own page, and not allowed by --allow-origin"
            )
        if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
            return
        shown = ("document", "iframe") if self._access.origins else ("document",)  # which pages frame it: see POLICY
        if method != "GET" or not _is_page(path) or headers.get("sec-fetch-dest") not in shown:
            raise ApiError(403, "Sec-Fetch-Site: only the server's own page may send requests")  # links are harmless

    def _check_key(self, path: str, headers: Headers) -> None:
        if not _is_page(path) and path != HEALTH and not self._access.opens(headers.get("authorization", "")):
            how = {"www-authenticate": "Bearer"}
            raise ApiError(401, "Authorization: must be 'Bearer KEY' with the API key of this server", None, how)

    def _cors_headers(self, headers: Headers) -> dict[str, str]:
        origin = headers.get("origin", "")
        if origin not in self._access.origins:
            return {}
        return {"access-control-allow-origin": origin, "access-control-expose-headers": "retry-after"}

    def _is_own(self, host: str, here: str) -> bool:
        parts = split(f"//{host}")
        if parts is None or parts.netloc != host or "@" in host or parts.hostname is None:
            return False
        if parts.hostname in self._names:
            return True
        return is_address(parts.hostname) and (self._everywhere or parts.hostname == here.lower())


def _check_size(scope: Scope) -> None:
    headers = sum(len(name + value) for name, value in scope["headers"])
    size = len(scope["raw_path"]) + len(scope["query_string"]) + headers
    if size > LONGEST_HEAD:
        raise ApiError(431, f"address and headers: at most {LONGEST_HEAD:,} bytes; given {size:,}")


def _is_page(path: str) -> bool:
    return path == "/" or path.startswith("/static/")


def _preflight_headers(headers: Headers) -> dict[str, str]:
    """Allow what an allowed origin is about to send; a browser asks twice to reach a private network from the web."""
    allowed = {"methods": "GET, POST", "headers": headers.get("access-control-request-headers", "")}
    if headers.get("access-control-request-private-network") == "true":
        allowed["private-network"] = "true"
    answer = {f"access-control-allow-{name}": value for name, value in allowed.items() if value}
    return answer | {"access-control-max-age": SECONDS_PREFLIGHT}


def _is_same(origin: str, host: str) -> bool:
    parts = split(origin)
    return parts is not None and parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
