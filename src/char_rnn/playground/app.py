"""The server's application: the API, the page, and the middleware around them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from char_rnn.generation.network import Precision
from char_rnn.model_file import ModelFile
from char_rnn.playground.api import OPERATIONS, Api
from char_rnn.playground.guard import HEADERS, Guard
from char_rnn.playground.metrics import Measured, Metrics
from char_rnn.playground.openapi import PREFIX
from char_rnn.playground.requests import ApiError, refuse
from char_rnn.playground.scheduler import MISTAKE
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_model import ServedModel

TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
"""Media types of the page's files: a system's own table may name others, which a browser does not run."""

_logger = logging.getLogger("char_rnn")


def create_app(
    models: Mapping[str, ModelFile],
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    precision: Precision = "float32",
    threads: int | None = None,
    host: str = "127.0.0.1",
) -> Starlette:
    """Make the application that serves some models.

    Args:
        models: Models by the names to serve them under.
        limits: Largest requests.
        precision: Precision of the engines.
        threads: Threads of each engine; ``None`` chooses by the model's size.
        host: Address the server is bound to; requests to other names are refused.

    Returns:
        An ASGI application, with each `ServedModel` in `state.models` and the counts in `state.metrics`.

    Raises:
        ValueError: A model's weights do not match its configuration.
    """
    served = {name: ServedModel(name, file, precision, limits, threads) for name, file in models.items()}
    metrics = Metrics({name: model.scheduler for name, model in served.items()})
    api, pages = Api(served, limits, metrics), Pages()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for model in served.values():
            model.start()
        yield
        await asyncio.gather(*(model.stop() for model in served.values()))

    app = Starlette(
        routes=[
            *(Route(PREFIX + each.path, getattr(api, each.name), methods=[each.method]) for each in OPERATIONS),
            Route("/", pages.index),
            Route("/static/{path:path}", pages.static),
        ],
        middleware=[Middleware(Measured, metrics=metrics), Middleware(Guard, host=host)],
        exception_handlers={HTTPException: refuse, Exception: _fail},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.models, app.state.metrics = served, metrics
    return app


async def _fail(request: Request, error: Exception) -> Response:
    """Log an unexpected error; its answer does not pass the `Guard`, and gets the security headers here."""
    _logger.error("%s %s", request.method, request.url.path, exc_info=error)
    headers = HEADERS | {"cache-control": "no-store", "connection": "close"}  # Starlette raises the error again
    return await refuse(request, ApiError(500, MISTAKE.format(type(error).__name__), headers=headers))


class Pages:
    """The page and its files, read once from the package; no other file can be requested."""

    def __init__(self) -> None:
        folder = files("char_rnn.playground") / "static"
        self._contents = {file.name: file.read_bytes() for file in folder.iterdir() if _ending(file.name) in TYPES}

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
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=TYPES[_ending(name)])


def _ending(name: str) -> str:
    return name[name.rfind(".") :]
