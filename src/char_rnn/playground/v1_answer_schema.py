"""Answers of the API under /v1, for its description; `v1_answers.py` makes them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ModelDescription(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"]
    created: int = Field(description="Unix time of the start of the server.")
    owned_by: str


class ModelList(BaseModel):
    """The served models."""

    object: Literal["list"]
    data: list[ModelDescription]


class LogProbs(BaseModel):
    """Log-probabilities, in nats, before temperature and filters; null for what the model did not predict."""

    tokens: list[str] = Field(description="Characters.")
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int] = Field(description="Place of each token in `text`.")


Reason = Literal["stop", "length"]


class CompletionChoice(BaseModel):
    """A text."""

    index: int
    text: str
    logprobs: LogProbs | None
    finish_reason: Reason | None


class Usage(BaseModel):
    """Numbers of characters, or of bytes for a model of bytes."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Written(BaseModel):
    """Fields of both kinds of answers."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage


class Completion(Written):
    """Texts that continue prompts."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class ChatLogProb(BaseModel):
    """A character and its log-probability."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(ChatLogProb):
    """A character of a message."""

    top_logprobs: list[ChatLogProb]


class ChatLogProbs(BaseModel):
    """Log-probabilities of a message."""

    content: list[ChatToken]
    refusal: None


class ChatMessage(BaseModel):
    """A text, as a message."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """A text, as a choice of a conversation."""

    index: int
    message: ChatMessage
    logprobs: ChatLogProbs | None
    finish_reason: Reason | None


class ChatCompletion(Written):
    """Texts that continue a conversation."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class Tokenizer(BaseModel):
    """The tokens: characters."""

    tokenizer_class: str
    bos_token: str
    eos_token: None


class Tokens(BaseModel):
    """Numbers of characters in Unicode."""

    tokens: list[int]
    count: int


class Detokenized(BaseModel):
    """A text."""

    prompt: str


class V1ErrorDetail(BaseModel):
    """An error."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str | None


class V1Error(BaseModel):
    """A refused request."""

    error: V1ErrorDetail
