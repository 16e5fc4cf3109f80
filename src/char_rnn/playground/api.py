"""The endpoints of the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from prometheus_client import generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from char_rnn._version import __version__
from char_rnn.data.vocabulary import UnknownCharacterError
from char_rnn.generation.generation_state import GenerationState
from char_rnn.generation.scored_text import likeliest
from char_rnn.generation.tracking_cells import SHORTEST
from char_rnn.generation.unknown_characters import Spelling, spelled
from char_rnn.playground import schema, v1
from char_rnn.playground.jobs import packed, probability
from char_rnn.playground.messages import ApiError, EventStream, check_most, read, unless_disconnected, unless_known
from char_rnn.playground.metrics import Metrics
from char_rnn.playground.openapi import Operation, document
from char_rnn.playground.served_model import ServedModel
from char_rnn.playground.served_models import ServedRun
from char_rnn.playground.training_text import TrainingText
from char_rnn.sampling.options import OPTIONS

ReadT = TypeVar("ReadT", bound=schema.ReadRequest)

NO_CHECKPOINT = "the run has no checkpoint yet; try again after its first evaluation"


class Api:
    """The endpoints of :data:`OPERATIONS`."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        runs: Mapping[str, ServedRun],
        limits: schema.Limits,
        metrics: Metrics,
        texts: Mapping[str, TrainingText] = MappingProxyType({}),
    ) -> None:
        self._models, self._runs, self._limits = models, runs, limits
        self._metrics, self._texts = metrics, texts

    async def models(self, _request: Request) -> Response:
        """List the models, the runs and the limits."""
        limits = {name: getattr(self._limits, name) for name in schema.LimitsAnswer.model_fields}
        texts = {name: text.name for name, text in self._texts.items()}
        models = [model.metadata | {"copied_from": texts.get(name)} for name, model in self._models.items()]
        return JSONResponse({"models": models, "runs": [*self._runs], "limits": limits})

    async def training(self, request: Request) -> Response:
        """Return the progress of a run; with `If-None-Match`, 304 if nothing has changed."""
        name = request.path_params["name"]
        if name not in self._runs:
            known = ", ".join(self._runs) or "none"
            raise ApiError(404, f"run {name[:100]!r}: not served here; the served run folders are {known}")
        run, model = self._runs[name], self._models.get(name)
        progress = asdict(await run.progress())
        progress["best"] = progress["best"] and dict(zip(("step", "loss"), progress["best"], strict=True))
        progress["samples"] = [{"step": step, "text": text} for step, text in progress["samples"]]
        served = model and {field: model.metadata[field] for field in ("step", "loss")}
        answer = {**progress, "model": served, "problem": run.problem}
        return unless_known(request, json.dumps(answer).encode(), "application/json")

    async def generate(self, request: Request) -> Response:
        """Write a text, as events: `start`, unnamed ones (CharactersEvent), `done` or `error`; a disconnect ends it."""
        body = await read(request, schema.GenerateRequest, self._limits)
        base = self.model(body.model)
        check_most("length", body.length, self._limits.length)
        self._check_text(body.prime, "prime")
        unit = None if body.unit is None else (body.unit.layer, body.unit.index)
        if unit is not None:
            _check_unit(base, unit, ("unit.layer", "unit.index"))
        text, start = await asyncio.to_thread(new_text, base, body)  # many unknown characters take a while
        model = await self._learned(request, base, body.learn)
        options: Any = {"start": start, "alternatives": body.alternatives, "unit": unit, "states": body.states}
        outbox, leave = model.write([text], self._metrics.streams, **options)
        return EventStream(outbox, leave, self._limits.seconds_stalled)

    async def activations(self, request: Request) -> Response:
        """Return the activations of a hidden cell, or of a layer, after each character of a text."""
        body, model, spelling = await self._read(request, schema.ActivationsRequest)
        _check_unit(model, (body.layer, body.unit or 0), ("layer", "unit"))
        if body.unit is None:
            most = self._limits.numbers // model.hidden_size
            check_most("text", len(body.text), most, " characters if unit is missing")
        states = await unless_disconnected(request, model.states(spelling, body.layer, body.unit))
        rows = states.astype(np.float64).round(5)
        changes = json.dumps(_spelling_fields(spelling))[1:-1]

        def encode() -> str:  # row by row: a million numbers at once would block all other threads
            return f'{{"activations":[{",".join(json.dumps(row.tolist()) for row in rows)}]{changes and ","}{changes}}}'

        return Response(await asyncio.to_thread(encode), media_type="application/json")

    async def states(self, request: Request) -> Response:
        """Return the activations of all cells, in 8 bits, after each of the last characters of a text."""
        _, model, spelling = await self._read(request, schema.ReadRequest)
        most = max(1, self._limits.numbers * 4 // (model.num_layers * model.hidden_size))
        states = await unless_disconnected(request, model.states(spelling, last=most))

        def encode() -> Response:
            return JSONResponse({"characters": len(states), **packed(states), **_spelling_fields(spelling)})

        return await asyncio.to_thread(encode)

    async def score(self, request: Request) -> Response:
        """Return the log-probability of each character of a text."""
        body, model, spelling = await self._read(request, schema.ScoreRequest)
        log_probs, after = await unless_disconnected(request, model.score(spelling))
        answer: dict[str, Any] = {"log_probs": log_probs, **_spelling_fields(spelling)}
        if body.alternatives:
            found = [] if after is None else likeliest(model.vocabulary.labels, after, body.alternatives)
            answer["next"] = [(label, probability(log_prob)) for label, log_prob in found]
        return JSONResponse(answer)

    async def cells(self, request: Request) -> Response:
        """List the cells that best track quotes, line length and other features, in a text that the model writes."""
        return await unless_disconnected(request, _cells(self.model(request.path_params["name"], None)))

    async def cells_of(self, request: Request) -> Response:
        """List the cells that best track these features in a given text."""
        model = self.model(request.path_params["name"], None)
        body = await read(request, schema.CellsRequest, self._limits)
        self._check_text(body.text)
        if len(body.text) < SHORTEST:
            raise ApiError(422, f"text: at least {SHORTEST} characters; given {len(body.text)}", "text")
        most = self._limits.numbers * 10 // (model.num_layers * model.hidden_size)
        return await unless_disconnected(request, _cells(model, body.text[:most]))

    async def copied(self, request: Request) -> Response:
        """List the stretches of a text that occur in the model's training text."""
        body = await read(request, schema.CopiedRequest, self._limits)
        model = self.model(body.model)
        self._check_text(body.text)
        if model.name not in self._texts:
            raise ApiError(422, f"model {model.name}: no training text; start char-rnn serve with --text", "model")
        copied = self._texts[model.name].copied(body.text, body.at_least)
        return JSONResponse({"stretches": await unless_disconnected(request, copied)})

    async def health(self, _request: Request) -> Response:
        """Report that the server runs."""
        return JSONResponse({"status": "ok", "version": __version__, "models": len(self._models)})

    async def metrics(self, _request: Request) -> Response:
        """Return counts, for Prometheus."""
        return Response(generate_latest(self._metrics.registry), media_type="text/plain; version=0.0.4")

    async def openapi(self, _request: Request) -> Response:
        """Return this description."""
        return JSONResponse(DOCUMENT)

    def model(self, name: str | None, field: str | None = "model") -> ServedModel:
        """Return the model of a request; `field` is the field with its name.

        Raises:
            ApiError: There is no such model, it has no checkpoint yet, or there are several and no name is given.
        """
        names = list(dict.fromkeys((*self._models, *self._runs)))
        known = ", ".join(names)
        if name is None and len(names) != 1:
            raise ApiError(422, f"model: must be one of {known}", field)
        name = known if name is None else name
        if name not in names:
            raise ApiError(404, f"model {name[:100]!r}: not served here; the models are {known}", field)
        if name not in self._models:
            raise ApiError(503, f"model {name}: {NO_CHECKPOINT}", field, headers={"retry-after": "10"})
        return self._models[name]

    async def _read(self, request: Request, form: type[ReadT]) -> tuple[ReadT, ServedModel, Spelling]:
        """Return the body of a request about a text, the model that reads it, and what it reads."""
        body = await read(request, form, self._limits)
        model = self.model(body.model)
        self._check_text(body.text)
        model = await self._learned(request, model, body.learn)
        return body, model, await model.spelled(body.text)

    async def _learned(self, request: Request, model: ServedModel, texts: Sequence[str]) -> ServedModel:
        """Return the copy of a model that has learned from the texts of a request, if there are any."""
        check_most("learn", sum(map(len, texts)), self._limits.prime, " characters in all")
        return await unless_disconnected(request, model.learned(texts))

    def _check_text(self, text: str, field: str = "text") -> None:
        check_most(field, len(text), self._limits.prime, " characters")


def _check_unit(model: ServedModel, unit: tuple[int, int], names: tuple[str, str]) -> None:
    for name, value, size in zip(names, unit, (model.num_layers, model.hidden_size), strict=True):
        if value >= size:
            raise ApiError(422, f"{name}: from 0 to {size - 1} in model {model.name}; given {value}", name)


OPERATIONS = (
    Operation("GET", "/models", Api.models, schema.ModelsAnswer),
    Operation("POST", "/generate", Api.generate, None, schema.GenerateRequest, "text/event-stream"),
    Operation("POST", "/activations", Api.activations, schema.ActivationsAnswer, schema.ActivationsRequest),
    Operation("POST", "/states", Api.states, schema.StatesAnswer, schema.ReadRequest),
    Operation("POST", "/score", Api.score, schema.ScoreAnswer, schema.ScoreRequest),
    Operation("GET", "/models/{name}/training", Api.training, schema.TrainingAnswer),
    Operation("GET", "/models/{name}/cells", Api.cells, schema.CellsAnswer),
    Operation("POST", "/models/{name}/cells", Api.cells_of, schema.CellsAnswer, schema.CellsRequest),
    Operation("POST", "/copied", Api.copied, schema.CopiedAnswer, schema.CopiedRequest),
    Operation("GET", "/health", Api.health, schema.HealthAnswer),
    Operation("GET", "/metrics", Api.metrics, None, media_type="text/plain"),
    Operation("GET", "/openapi.json", Api.openapi, schema.OpenApiAnswer),
)
DOCUMENT = document((*OPERATIONS, *v1.OPERATIONS))


def new_text(model: ServedModel, body: schema.GenerateRequest) -> tuple[GenerationState, dict[str, Any]]:
    """Return the text to write, and the fields of its event `start`.

    Raises:
        ApiError: A field does not fit the model.
    """
    try:
        prime = spelled(model.vocabulary, body.prime or model.prime, body.unknown)
        strategy = model.strategy(body.model_dump(include=OPTIONS.keys() & body.model_fields_set))
        ends: dict[str, Any] = {name: getattr(body, name) for name in ("stop", "stop_at_newline", "keep_stop")}
        text = GenerationState(model.vocabulary, prime.indices, body.length, strategy, seed=body.seed, **ends)
    except UnknownCharacterError as error:
        raise ApiError(422, f"prime: {error}", "prime") from None
    except ValueError as error:
        field = str(error).partition(":")[0]
        raise ApiError(422, str(error), field if field in schema.GenerateRequest.model_fields else None) from None
    return text, {"prime": model.vocabulary.decode(prime.indices), **_spelling_fields(prime)}


def _spelling_fields(spelling: Spelling) -> dict[str, Any]:
    r"""Return the fields of `SpellingFields` that apply to a text.

    Half a surrogate pair, which UTF-8 cannot encode, is written as ``\ud800``.
    """
    substitutions = spelling.substitutions.items()
    pairs = [(given.encode("utf-8", "backslashreplace").decode(), read) for given, read in substitutions]
    fields: dict[str, Any] = {"normal_form": spelling.form, "substitutions": pairs}
    return {name: value for name, value in fields.items() if value}


async def _cells(model: ServedModel, text: str | None = None) -> Response:
    """List the cells that track features of a text, by default of one that the model writes."""
    if text is None:
        cells, changes = await model.cells(), {}
    else:
        spelling = await model.spelled(text)
        cells, changes = await model.cells_of(text, spelling), _spelling_fields(spelling)
    rounded = [asdict(cell) | {"correlation": round(cell.correlation, 4)} for cell in cells]
    return JSONResponse({"cells": rounded, **changes})
