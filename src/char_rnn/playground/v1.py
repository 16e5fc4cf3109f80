"""The OpenAI-compatible API under /v1: models, completions, and a conversation as a text to continue.

Each text is a job of the model's scheduler, as in /api/generate. Text k of a prompt has the seed that `generate_many`
gives it, whatever else is in the request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from char_rnn._version import __version__
from char_rnn.playground import v1_answer_schema as answers
from char_rnn.playground import v1_schema as schema
from char_rnn.playground.messages import (
    ApiError,
    EventStream,
    Item,
    Outbox,
    batches,
    check_most,
    read,
    unless_disconnected,
)
from char_rnn.playground.metrics import Metrics
from char_rnn.playground.openapi import Operation
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_model import ServedModel
from char_rnn.playground.v1_answers import Answer, ChatAnswer, Choice, Piece, Prompt, StreamEncoder, by_number, usage_of
from char_rnn.playground.v1_texts import encodable, new_texts

PACE = 0.01  # seconds between reads of the outbox for an answer that is not a stream
BODIES = 8  # limit for the size of a request, in requests with one text


class V1:
    """The endpoints of :data:`OPERATIONS`.

    Args:
        find: Returns a model by its name, or raises `ApiError`.
        names: Names of the models.
        limits: Largest requests.
        metrics: Counts.
    """

    def __init__(
        self, find: Callable[[str | None], ServedModel], names: Collection[str], limits: Limits, metrics: Metrics
    ) -> None:
        self._find, self._names, self._limits, self._metrics = find, names, limits, metrics
        self._began = int(time.time())

    async def list_models(self, _request: Request) -> Response:
        """List the models."""
        return JSONResponse({"object": "list", "data": [self._described(name) for name in self._names]})

    async def retrieve_model(self, request: Request) -> Response:
        """Describe a model."""
        return JSONResponse(self._described(self._find(request.path_params["name"]).name))

    async def complete(self, request: Request) -> Response:
        """Continue one or several prompts, as one answer or as a stream of events."""
        body = await read(request, schema.CompletionRequest, self._limits, BODIES)
        check_most("prompt", max(map(len, body.prompt)), self._limits.prime, " characters")
        count = body.best_of or body.n
        if count < body.n:
            raise ApiError(422, f"best_of: must be at least n ({body.n}); given {count}", "best_of")
        if count > body.n and body.stream:
            raise ApiError(422, f"best_of: must equal n ({body.n}) in a stream; given {count}", "best_of")
        return await self._written(request, body, body.prompt, body.max_tokens, count, body.logprobs)

    async def chat(self, request: Request) -> Response:
        """Continue the contents of a conversation; the model does not converse."""
        body = await read(request, schema.ChatRequest, self._limits, BODIES)
        given = (body.max_completion_tokens, body.max_tokens, min(schema.DEFAULT_CHAT_TOKENS, self._limits.length))
        length = next(each for each in given if each is not None)
        texts, alternatives = [body.prime[-self._limits.prime :]], body.top_logprobs if body.logprobs else None
        return await self._written(request, body, texts, length, body.n, alternatives)

    async def tokenizer(self, _request: Request) -> Response:
        """Describe the tokens, for evaluation programs: characters, whatever the model."""
        return JSONResponse({"tokenizer_class": "characters", "bos_token": "\n", "eos_token": None})

    async def tokenize(self, request: Request) -> Response:
        """Split a text into characters, and return their numbers in Unicode."""
        body = await read(request, schema.TokenizeRequest, self._limits, BODIES)
        return JSONResponse({"tokens": list(map(ord, body.prompt)), "count": len(body.prompt)})

    async def detokenize(self, request: Request) -> Response:
        """Join characters, given by their numbers."""
        body = await read(request, schema.DetokenizeRequest, self._limits, BODIES)
        return JSONResponse({"prompt": encodable("".join(map(chr, body.tokens)))})

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._began, "owned_by": "char-rnn"}

    async def _written(
        self,
        request: Request,
        body: schema.TextRequest,
        texts: list[str],
        length: int,
        count: int,
        alternatives: int | None,
    ) -> Response:
        """Write `count` texts for each prompt; without `alternatives`, also without log-probabilities."""
        model = self._find(body.model)
        total = len(texts) * count
        check_most("max_tokens", length, self._limits.length)
        check_most("n", total, self._limits.streams, " texts in a request")
        echo, scored = isinstance(body, schema.CompletionRequest) and body.echo, alternatives is not None
        held = (sum(map(len, texts)) * count if echo else 0) + (0 if body.stream else total * length)
        listed = held * (alternatives or 0)  # each with its text
        check_most("logprobs", listed, self._limits.numbers // 4, " in an answer")
        prompts, states = await asyncio.to_thread(new_texts, model, body, texts, length, count)
        options: Any = {"alternatives": alternatives or 0, "scores": True, "prime_scores": echo and scored}
        outbox, leave = model.write(states, self._metrics.streams, **options)
        echoed = [prompts[number // count] if echo else None for number in range(total)]
        choices = [Choice(number, scored, prompt) for number, prompt in enumerate(echoed)]
        form = ChatAnswer if isinstance(body, schema.ChatRequest) else Answer
        answer = form(model.name, f"char-rnn-{__version__}-{model.metadata['precision']}", scored)
        if body.stream:
            encode = StreamEncoder(answer, prompts, choices, body.stream_options.include_usage)
            return EventStream(outbox, leave, self._limits.seconds_stalled, encode, total)
        try:
            return await unless_disconnected(request, _whole(answer, outbox, prompts, choices, body.n))
        finally:
            leave()


_OWN: Any = {"prefix": schema.PREFIX, "error": answers.V1Error}
_WRITING: Any = {**_OWN, "streams": True}
OPERATIONS = (
    Operation("GET", "/models", V1.list_models, answers.ModelList, **_OWN),
    Operation("GET", "/models/{name}", V1.retrieve_model, answers.ModelDescription, **_OWN),
    Operation("POST", "/completions", V1.complete, answers.Completion, schema.CompletionRequest, **_WRITING),
    Operation("POST", "/chat/completions", V1.chat, answers.ChatCompletion, schema.ChatRequest, **_WRITING),
    Operation("GET", "/tokenizer_info", V1.tokenizer, answers.Tokenizer, prefix=""),
    Operation("POST", "/tokenize", V1.tokenize, answers.Tokens, schema.TokenizeRequest, prefix=""),
    Operation("POST", "/detokenize", V1.detokenize, answers.Detokenized, schema.DetokenizeRequest, prefix=""),
)


async def _whole(
    answer: Answer, outbox: Outbox, prompts: list[Prompt], choices: Sequence[Choice], count: int
) -> Response:
    """Wait for all texts, and return the likeliest `count` of each prompt."""
    received: list[Item] = []
    async for items in batches(outbox, len(choices), PACE):
        received += items
    if error := next((data["message"] for name, data, _ in received if name == "error"), None):
        raise ApiError(503, error)

    def build() -> Response:
        items = by_number(received)
        pieces = [choice.add(items[choice.number]) for choice in choices]
        chosen = _likeliest(pieces, choices, len(prompts), count)
        return JSONResponse(answer.whole(chosen, usage_of(prompts, choices)))

    return await asyncio.to_thread(build)  # log-probabilities take a while


def _likeliest(pieces: list[Piece], choices: Sequence[Choice], prompts: int, count: int) -> list[Piece]:
    """Choose the texts of each prompt with the highest mean log-probability, if there are more than `count`."""
    written = len(pieces) // prompts
    if written == count:
        return pieces
    chosen = []
    for begin in range(0, len(pieces), written):
        own = sorted(pieces[begin : begin + written], key=lambda piece: -choices[piece.number].mean_log_prob)
        chosen += own[:count]
    for number, piece in enumerate(chosen):
        piece.number = number
    return chosen
