"""What the server answers, address by address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from char_rnn._version import __version__
from char_rnn.data.vocabulary import UnknownCharacterError
from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.spelling import spelled
from char_rnn.generation.strategy import Strategy
from char_rnn.playground import bodies, schema
from char_rnn.playground.cells import SHORTEST
from char_rnn.playground.errors import ApiError
from char_rnn.playground.events import EventStream, gone
from char_rnn.playground.generation import Generation
from char_rnn.playground.limits import Limits
from char_rnn.playground.metrics import Metrics
from char_rnn.playground.outbox import Outbox
from char_rnn.playground.served import Served
from char_rnn.playground.texts import how_read

STRATEGY = tuple(field.name for field in fields(Strategy))
CLIENT_GONE = 499


class Api:
    """The endpoints.

    Args:
        models: By name.
        limits: What is refused.
        metrics: What is counted.
        document: The OpenAPI description.
    """

    def __init__(
        self, models: Mapping[str, Served], limits: Limits, metrics: Metrics, document: schema.Document
    ) -> None:
        self._models, self._limits, self._metrics, self._document = models, limits, metrics, document

    async def models(self, _request: Request) -> Response:
        """List the models, and the limits."""
        limits = {name: getattr(self._limits, name) for name in schema.LimitsAnswer.model_fields}
        return JSONResponse({"models": [model.facts for model in self._models.values()], "limits": limits})

    async def generate(self, request: Request) -> Response:
        """Write a text, and send it as it is made."""
        body = await bodies.read(request, schema.GenerateRequest, self._limits)
        model = self._model(body.model, "model")
        if body.length > self._limits.length:
            raise ApiError(422, f"length: at most {self._limits.length:,}; given {body.length:,}", "length")
        self._check_text(body.prime, "prime")
        unit = None if body.unit is None else (body.unit.layer, body.unit.index)
        if unit is not None:
            self._check_unit(model, unit, ("unit.layer", "unit.index"))
        continuation, read = await asyncio.to_thread(_continuation, model, body)  # many unknown characters take a while
        outbox = Outbox(self._limits.characters_held, model.batch.wake)
        generation = Generation(continuation, model.vocabulary, outbox, body.alternatives, unit, read)
        if not generation.ended:
            model.add(generation)
        self._metrics.streams += 1

        def leave() -> None:
            self._metrics.streams -= 1
            model.cancel(generation)

        return EventStream(outbox, leave, self._limits.seconds_stalled)

    async def activations(self, request: Request) -> Response:
        """Tell what hidden cells hold after each character of a text."""
        body = await bodies.read(request, schema.ActivationsRequest, self._limits)
        model = self._model(body.model, "model")
        self._check_text(body.text, "text")
        self._check_unit(model, (body.layer, body.unit or 0), ("layer", "unit"))
        size = len(body.text) * (model.hidden_size if body.unit is None else 1)
        if size > self._limits.numbers:
            most = self._limits.numbers // model.hidden_size
            raise ApiError(422, f"text: at most {most:,} characters without a unit; given {len(body.text):,}", "text")
        return await _while_there(request, _activations(model, body))

    async def score(self, request: Request) -> Response:
        """Tell how likely each character of a text was."""
        body = await bodies.read(request, schema.ScoreRequest, self._limits)
        model = self._model(body.model, "model")
        self._check_text(body.text, "text")
        return await _while_there(request, _score(model, body.text))

    async def cells(self, request: Request) -> Response:
        """List the cells that track something, in a text of the model's own."""
        return await _while_there(request, _cells(self._model(request.path_params["name"])))

    async def cells_of(self, request: Request) -> Response:
        """List the cells that track something in a text."""
        model = self._model(request.path_params["name"])
        body = await bodies.read(request, schema.CellsRequest, self._limits)
        self._check_text(body.text, "text")
        if len(body.text) < SHORTEST:
            raise ApiError(422, f"text: at least {SHORTEST} characters; given {len(body.text)}", "text")
        most = self._limits.numbers * 10 // (model.num_layers * model.hidden_size)
        return await _while_there(request, _cells(model, body.text[:most]))

    async def health(self, _request: Request) -> Response:
        """Tell that the server runs."""
        return JSONResponse({"status": "ok", "version": __version__, "models": len(self._models)})

    async def metrics(self, _request: Request) -> Response:
        """Tell what has been counted, to Prometheus."""
        text = self._metrics.text({name: model.batch for name, model in self._models.items()})
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def openapi(self, _request: Request) -> Response:
        """Describe all this in OpenAPI."""
        return JSONResponse(self._document)

    def _model(self, name: str | None, field: str | None = None) -> Served:
        if name is None and len(self._models) == 1:
            return next(iter(self._models.values()))
        if name is None:
            raise ApiError(422, f"model: must be one of {', '.join(self._models)}", field)
        if name not in self._models:
            known = ", ".join(self._models)
            raise ApiError(404, f"model {name[:100]!r}: is not served here; there is {known}", field)
        return self._models[name]

    def _check_text(self, text: str, field: str) -> None:
        if len(text) > self._limits.prime:
            raise ApiError(422, f"{field}: at most {self._limits.prime:,} characters; given {len(text):,}", field)

    def _check_unit(self, model: Served, unit: tuple[int, int], names: tuple[str, str]) -> None:
        for name, value, size in zip(names, unit, (model.num_layers, model.hidden_size), strict=True):
            if value >= size:
                raise ApiError(422, f"{name}: from 0 to {size - 1} in model {model.name}; given {value}", name)


def _continuation(model: Served, body: schema.GenerateRequest) -> tuple[GenerationState, dict[str, Any]]:
    """Return the text that is asked for, and what to say of the reading of its prime."""
    try:
        prime = spelled(model.vocabulary, body.prime, body.unknown)
        continuation = GenerationState(
            model.vocabulary,
            prime.indices,
            body.length,
            Strategy(**{name: getattr(body, name) for name in STRATEGY}),
            seed=body.seed,
            stop=body.stop,
            stop_at_newline=body.stop_at_newline,
        )
    except UnknownCharacterError as error:
        raise ApiError(422, f"prime: {error}", "prime") from None
    except ValueError as error:
        field = str(error).partition(":")[0]
        raise ApiError(422, str(error), field if field in schema.GenerateRequest.model_fields else None) from None
    return continuation, how_read(prime)


async def _score(model: Served, text: str) -> Response:
    spelling = await model.spelled(text)
    return JSONResponse({"log_probs": await model.score(spelling), **how_read(spelling)})


async def _activations(model: Served, body: schema.ActivationsRequest) -> Response:
    spelling = await model.spelled(body.text)
    rows = await model.activations(spelling, body.layer, body.unit)
    read = json.dumps(how_read(spelling))[1:-1]

    def encode() -> str:  # row by row: a million numbers at once would keep the interpreter from everything else
        return f'{{"activations":[{",".join(json.dumps(row.tolist()) for row in rows)}]{read and ","}{read}}}'

    return Response(await asyncio.to_thread(encode), media_type="application/json")


async def _cells(model: Served, text: str | None = None) -> Response:
    """List the cells that track something in a text, or without one in a text of the model's own."""
    spelling = None if text is None else await model.spelled(text)
    cells = await (model.cells() if text is None or spelling is None else model.cells_of(text, spelling))
    facts = {"cells": [asdict(cell) | {"correlation": round(cell.correlation, 4)} for cell in cells]}
    return JSONResponse(facts | (how_read(spelling) if spelling else {}))


async def _while_there(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    """Return the answer, or give it up when the one who asked has gone."""
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=CLIENT_GONE)
    finally:
        answering.cancel()
        leaving.cancel()
