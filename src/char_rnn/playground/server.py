"""Runs the application on a socket until it is told to end."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from char_rnn.playground.guard import LONGEST_HEAD

CONNECTIONS = 512  # a request on one more is answered by 503
REFUSED = 64  # so many more may wait for that answer; others are closed at once, as each takes a descriptor
SECONDS_TO_END = 3
TICKS_TO_LOOK = 100  # of a tenth of a second
LOOKS_TO_READ = 7  # what is being sent is left by itself after a minute (`Limits.seconds_stalled`)
BUFFER = 65_536  # bytes that the system holds for a reader who does not keep up


class Server(uvicorn.Server):
    """A server that ends the texts being written when it is told to end, and then itself.

    Args:
        app: What `create_app` made.
        started: Called once it listens.
    """

    def __init__(self, app: Starlette, started: Callable[[], None] | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="on",
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                h11_max_incomplete_event_size=LONGEST_HEAD,
                timeout_graceful_shutdown=SECONDS_TO_END,
            )
        )
        self._app, self._when_started = app, started
        self._still: dict[Any, tuple[_Standing, int]] = {}

    def end(self) -> None:
        """End the server; safe to call from a signal handler."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program that runs the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        if self.started and self._when_started is not None:
            self._when_started()

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections, ten times a second."""
        if counter % TICKS_TO_LOOK == 0:
            self._drop_stuck()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the texts, so that their connections close."""
        for model in self._app.state.models.values():
            model.batch.close()
        await super().shutdown(sockets)
        self._drop_stuck()
        self._drop_stuck()

    def _drop_stuck(self) -> None:
        """Drop connections that stand as at the last look: what they wait for does not come."""
        before, self._still = self._still, {}
        for connection in tuple(self.server_state.connections):
            standing = _standing(connection)
            if standing is None:
                continue
            last, looks = before.get(connection, (None, 0))
            looks = looks + 1 if last == standing else 0
            self._still[connection] = (standing, looks)
            if looks >= standing.looks:
                connection.transport.abort()


class _Connection(H11Protocol):
    """A connection that is closed as it comes when there are too many to be answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS + REFUSED:
            transport.abort()


class _Standing(NamedTuple):
    """How a connection stands, that has to change within some looks."""

    looks: int
    unsent: int
    answered: object


def _standing(connection: Any) -> _Standing | None:
    """Return how a connection stands if it waits for the other side, else ``None``."""
    unsent, cycle = connection.transport.get_write_buffer_size(), connection.cycle
    if connection.transport.is_closing() or cycle is None or cycle.response_complete:
        return _Standing(1, unsent, cycle)  # until the rest is taken, or the head of a request has come
    return _Standing(LOOKS_TO_READ, unsent, cycle) if connection.flow.write_paused else None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Args:
        host: A name or a number.
        port: 0 for any that is free.

    Raises:
        ValueError: It cannot be; the message says why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise ValueError(f"--host {host}: no such address; 127.0.0.1 is this machine alone") from None
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows a second server could take the port with it
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} of {host} is in use already; choose another with --port") from None
        raise ValueError(f"--host {host} --port {port}: {(error.strerror or str(error)).lower()}") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """Return where a browser finds a socket."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
