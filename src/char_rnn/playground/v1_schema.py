"""Requests of the OpenAI-compatible API under /v1.

Unknown fields are ignored, and null is the default: clients send many fields that have no meaning here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from char_rnn.playground.schema import ModelName, sampling_fields

PREFIX = "/v1"
DEFAULT_TOKENS = 16
DEFAULT_CHAT_TOKENS = 500
MOST_TOP = 20


class OpenBody(BaseModel):
    """A request that may have more fields."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body


def _texts(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
        numbers = "; lists of token numbers are not accepted: this model reads characters"
        raise PydanticCustomError("texts", "must be a text or a list of texts{hint}", {"hint": numbers})
    return texts


def _stops(value: Any) -> Any:
    return [each for each in _texts(value) if each] if value else []


def _contents(value: Any) -> Any:
    """Return the text of a message, which may have parts."""
    parts = [{"type": "text", "text": value}] if isinstance(value, str) else value or []
    if not isinstance(parts, list) or not all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in parts):
        raise PydanticCustomError("content", "must be a text, or a list of parts of type text")
    return "".join(part["text"] for part in parts)


_ONE_OR_MORE = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
Texts = Annotated[list[str], BeforeValidator(_texts), _ONE_OR_MORE]
Stops = Annotated[list[Annotated[str, Field(max_length=1000)]], BeforeValidator(_stops), _ONE_OR_MORE]
Content = Annotated[
    str,
    BeforeValidator(_contents),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}),
]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class StreamOptions(OpenBody):
    """Options of a stream."""

    include_usage: bool = False


Sampling: Any = create_model(
    "Sampling",
    __base__=OpenBody,
    **sampling_fields(
        top_k={"ge": -1, "description": "Sample from the K likeliest characters only; 0 and -1 = off."},
        top_p={"gt": None, "ge": 0},
        min_p={"gt": None, "ge": 0},
    ),
)
"""The sampling options, with the values by which other servers turn an option off."""


class TextRequest(Sampling):  # type: ignore[misc]  # made at run time
    """Fields of both kinds of requests."""

    model: ModelName = None
    n: int = Field(1, ge=1, le=1024, description="Texts for each prompt.")
    seed: int | None = Field(None, ge=-1, lt=2**63, description="Seed of the first text; -1 = random.")
    stop: Stops = Field([], max_length=16, description="Stop texts; the text ends before the first of them.")
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    frequency_penalty: Penalty = Field(0, description="Subtracted for each time the character was written, in nats.")
    presence_penalty: Penalty = Field(0, description="Subtracted once if the character was written, in nats.")


class CompletionRequest(TextRequest):
    """Prompts to continue."""

    prompt: Texts = Field([""], description="Texts to continue; an empty one continues the prime of the model, if any.")
    max_tokens: int = Field(DEFAULT_TOKENS, ge=0, description="Characters to write, at most `limits.length`.")
    best_of: int | None = Field(None, ge=1, le=1024, description="Texts to write; the likeliest `n` are sent.")
    echo: bool = Field(False, description="Send the prompt before the text.")
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP, description="Likeliest characters to send with each one.")
    suffix: Literal[""] = Field("", description="Not supported: the model writes forward.")

    @model_validator(mode="before")
    @classmethod
    def _without_false(cls, body: Any) -> Any:
        return {**body, "logprobs": None} if isinstance(body, dict) and body.get("logprobs") is False else body


class Message(OpenBody):
    """A message of a conversation."""

    role: str
    content: Content = ""


class ChatRequest(TextRequest):
    """A conversation, whose contents are the text to continue."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=0, description="Characters to write, at most `limits.length`.")
    max_completion_tokens: int | None = Field(None, ge=0, description="Newer name of `max_tokens`.")
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_TOP, description="Likeliest characters to send with each.")

    @property
    def prime(self) -> str:
        """The contents as one text: a message begins a line, unless it is the assistant's, which continued the last."""
        pieces = [f"{'' if each.role == 'assistant' else chr(10)}{each.content}" for each in self.messages]
        return "".join(pieces).removeprefix("\n")


class TokenizeRequest(OpenBody):
    """A text to split into characters."""

    prompt: str


class DetokenizeRequest(OpenBody):
    """Characters to join, by their numbers in Unicode."""

    tokens: list[Annotated[int, Field(ge=0, le=0x10FFFF)]]
