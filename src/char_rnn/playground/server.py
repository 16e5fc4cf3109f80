"""The playground's application (API, page and middleware), and the server that runs it until it is asked to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from char_rnn.generation.network import Precision
from char_rnn.model_file import ModelFile
from char_rnn.playground import v1
from char_rnn.playground.access import Access
from char_rnn.playground.api import OPERATIONS, Api
from char_rnn.playground.learning_model import LearningModel, MakeLearner
from char_rnn.playground.messages import ApiError, refuse, unless_known
from char_rnn.playground.metrics import Measured, Metrics
from char_rnn.playground.middleware import HEADERS, LONGEST_HEAD, Guard
from char_rnn.playground.scheduler import MISTAKE
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_model import ServedModel
from char_rnn.playground.served_models import ServedModels, ServedRun
from char_rnn.playground.training_text import TrainingText
from char_rnn.utils.page_files import TYPES, page_files

_logger = logging.getLogger("char_rnn")


def create_app(
    models: Mapping[str, ModelFile | Path],
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    precision: Precision = "float32",
    threads: int | None = None,
    host: str = "127.0.0.1",
    access: Access = Access(),  # noqa: B008 (frozen)
    texts: Mapping[str, TrainingText] = MappingProxyType({}),
    learner: MakeLearner | None = None,
) -> Starlette:
    """Make the application that serves some models.

    Args:
        models: Models by the names to serve them under. A path is a run folder: its model is replaced when the run,
            which may be training, writes a better one.
        limits: Largest requests.
        precision: Precision of the engines.
        threads: Threads of each engine; ``None`` chooses by the model's size.
        host: Address the server is bound to; requests to other names are refused.
        access: API key, and the origins and names that are allowed too.
        texts: Training texts of the models, by their names, to find copied stretches.
        learner: Makes the learner of a model, whose copies then learn from texts of the clients.

    Returns:
        An ASGI application, with the `ServedModels` in `state.models` and the counts in `state.metrics`.

    Raises:
        ValueError: A model's weights do not match its configuration, or a run folder's model cannot be read.
        OSError: A run folder cannot be read.
    """

    def serve(name: str, file: ModelFile) -> ServedModel:
        given = name, file, precision, limits, threads
        return ServedModel(*given) if learner is None else LearningModel(*given, learner)

    runs = {name: ServedRun(name, folder, serve) for name, folder in models.items() if isinstance(folder, Path)}
    found = (serve(name, file) if isinstance(file, ModelFile) else runs[name].load() for name, file in models.items())
    served = ServedModels(filter(None, found))
    metrics = Metrics(served)
    api, pages = Api(served, runs, limits, metrics, texts), Pages()
    v1_api = v1.V1(api.model, served, limits, metrics)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        served.start()
        watching = [asyncio.create_task(run.watch(served)) for run in runs.values()]
        watching.append(asyncio.create_task(_forget_idle(served, limits.seconds_learned)))
        yield
        for task in watching:
            task.cancel()
        await served.stop()

    app = Starlette(
        routes=[
            *(Route(each.address, getattr(api, each.name), methods=[each.method]) for each in OPERATIONS),
            *(Route(each.address, getattr(v1_api, each.name), methods=[each.method]) for each in v1.OPERATIONS),
            Route("/", pages.index),
            Route("/static/{path:path}", pages.static),
        ],
        middleware=[Middleware(Measured, metrics=metrics), Middleware(Guard, host=host, access=access)],
        exception_handlers={HTTPException: refuse, Exception: _fail},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.models, app.state.metrics = served, metrics
    return app


async def _forget_idle(served: ServedModels, seconds: float) -> None:
    """Drop learned copies that nobody uses any more."""
    while True:
        await asyncio.sleep(seconds / 10)
        for model in tuple(served.values()):
            await model.forget(seconds)


async def _fail(request: Request, error: Exception) -> Response:
    """Log an unexpected error; its answer does not pass the `Guard`, and gets the security headers here."""
    _logger.error("%s %s", request.method, request.url.path, exc_info=error)
    headers = HEADERS | {"cache-control": "no-store", "connection": "close"}  # Starlette raises the error again
    return await refuse(request, ApiError(500, MISTAKE.format(type(error).__name__), headers=headers))


class Pages:
    """The page and its files, read once from the package; no other file can be requested."""

    def __init__(self) -> None:
        self._contents = {name: text.encode() for name, text in page_files("char_rnn.playground").items()}

    async def index(self, request: Request) -> Response:
        """Send the page."""
        return self._send(request, "index.html")

    async def static(self, request: Request) -> Response:
        """Send a file of the page."""
        return self._send(request, request.path_params["path"])

    def _send(self, request: Request, name: str) -> Response:
        content = self._contents.get(name)
        if content is None:
            raise HTTPException(404)
        return unless_known(request, content, TYPES[PurePath(name).suffix])


CONNECTIONS = 512  # a request on one more is answered by 503
REFUSED = 64  # so many more wait for that answer; others are closed at once, because each takes a file descriptor
SECONDS_TO_END = 3
TICKS_TO_LOOK = 100  # tenths of a second
LOOKS_TO_READ = 7  # an event stream is closed after a minute (`Limits.seconds_stalled`), before this
BUFFER = 65_536  # bytes that the system holds for a client that does not keep up

_Progress = tuple[int, int, object]
"""Looks that a waiting connection is given to change, its unsent bytes, and the request being answered."""


class Server(uvicorn.Server):
    """A server for an application of `create_app`: calls `started` when it listens, and ends the texts at shutdown."""

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
        self._waiting: dict[Any, tuple[_Progress, int]] = {}

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
        """Look at the connections; uvicorn calls this ten times a second."""
        if counter % TICKS_TO_LOOK == 0:
            self._drop_stuck()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the texts, which closes their connections."""
        self._app.state.models.close()
        await super().shutdown(sockets)
        self._drop_stuck()
        self._drop_stuck()

    def _drop_stuck(self) -> None:
        """Drop connections that wait for their clients without any progress."""
        before, self._waiting = self._waiting, {}
        for connection in tuple(self.server_state.connections):
            progress = _progress(connection)
            if progress is None:
                continue
            last, looks = before.get(connection, (None, 0))
            looks = looks + 1 if last == progress else 0
            self._waiting[connection] = (progress, looks)
            if looks >= progress[0]:
                connection.transport.abort()


class _Connection(H11Protocol):
    """A connection that is closed at once if there are too many to answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS + REFUSED:
            transport.abort()


def _progress(connection: Any) -> _Progress | None:
    """Return the progress of a connection that waits for its client, else ``None``."""
    unsent, cycle = connection.transport.get_write_buffer_size(), connection.cycle
    if connection.transport.is_closing() or cycle is None or cycle.response_complete:
        return 1, unsent, cycle  # the rest of the answer is not taken, or the head of a request has not arrived
    return (LOOKS_TO_READ, unsent, cycle) if connection.flow.write_paused else None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; port 0 is any that is free.

    Raises:
        ValueError: The address does not exist or is in use.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise ValueError(f"--host {host}: no such address; 127.0.0.1 serves this machine only") from None
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # on Windows this would let a second server take the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} of {host} is already in use; choose another with --port") from None
        raise ValueError(f"--host {host} --port {port}: {(error.strerror or str(error)).lower()}") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the address at which a browser finds a socket."""
    host, port = bound.getsockname()[:2]
    return _address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)


def address_in_network(bound: socket.socket) -> str | None:
    """Return the address for other machines of a socket that is bound to all addresses; ``None`` if there is none."""
    host, port = bound.getsockname()[:2]
    if host not in ("0.0.0.0", "::"):
        return None
    with suppress(OSError), socket.socket(bound.family, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1" if host == "0.0.0.0" else "2001:db8::1", 9))  # sends nothing; only finds the route
        return _address(probe.getsockname()[0], port)
    return None


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
