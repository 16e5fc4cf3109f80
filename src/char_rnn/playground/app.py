"""The server's application: the API, the page, and what stands before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from char_rnn.generation.network import Precision
from char_rnn.model_file import ModelFile
from char_rnn.playground.api import Api
from char_rnn.playground.errors import ApiError, refuse
from char_rnn.playground.guard import Guard
from char_rnn.playground.limits import Limits
from char_rnn.playground.metrics import Measured, Metrics
from char_rnn.playground.openapi import OPERATIONS, PREFIX, document
from char_rnn.playground.pages import Pages
from char_rnn.playground.served import Served


def create_app(
    models: Mapping[str, ModelFile],
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    precision: Precision = "float32",
    host: str = "127.0.0.1",
) -> Starlette:
    """Make the application that serves some models.

    Args:
        models: By the names they go by.
        limits: What is refused.
        precision: Of the engines.
        host: The address that it is bound to; requests to other names are refused.

    Returns:
        An application of ASGI. Its `state.models` are the `Served` models by name, and `state.metrics` what is counted.

    Raises:
        ValueError: A model's weights are not those of its configuration.
    """
    served = {name: Served(name, file, precision, limits) for name, file in models.items()}
    metrics, pages = Metrics(), Pages()
    api = Api(served, limits, metrics, document())

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
        exception_handlers={ApiError: refuse, HTTPException: refuse},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.models, app.state.metrics = served, metrics
    return app
