"""Answers of the API under /v1: choices made from the items of jobs, whole or in the chunks of a stream.

A token is a character; U+FFFD stands for bytes that are not UTF-8. Log-probabilities are the model's, before the
temperature and the filters.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from char_rnn.generation.unknown_characters import Spelling
from char_rnn.playground.messages import Item, compact_json, openai_error


class Token(NamedTuple):
    """A character, its log-probability (nats), and the likeliest symbols; ``None`` if the model did not predict it."""

    text: str
    log_prob: float | None
    likeliest: Mapping[str, float] | None


class Prompt(NamedTuple):
    """A text to continue: as given, and as the model reads it."""

    text: str
    spelling: Spelling


@dataclass
class Piece:
    """The new part of a choice since the last piece."""

    number: int
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    reason: str | None = None


@dataclass
class Choice:
    """A text that is being written.

    Attributes:
        number: Its number in the request.
        scored: Whether its pieces have tokens.
        echoed: Prompt to begin with, if any.
        symbols: Symbols written.
        log_prob: Sum of the log-probabilities of the tokens written.
    """

    number: int
    scored: bool
    echoed: Prompt | None = None
    symbols: int = 0
    log_prob: float = 0.0
    _pending: float = field(default=0.0, repr=False)  # of bytes that do not complete a character yet

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability of the symbols written."""
        return self.log_prob / max(self.symbols, 1)

    def add(self, items: Iterable[Item]) -> Piece:
        """Return the new part of the choice from items of its job."""
        piece = Piece(self.number)
        for name, data, _ in items:
            if name == "start" and self.echoed is not None:
                piece.text += self.echoed.text
                piece.tokens += prompt_tokens(self.echoed, data["scores"]) if self.scored else []
            elif name == "done":
                piece.reason, self.symbols = data["reason"], data["characters"]
            elif not name:
                piece.text += data["text"]
                piece.tokens += self._token(data)
        return piece

    def _token(self, entry: Mapping[str, Any]) -> list[Token]:
        log_prob = entry.get("log_prob", 0.0)
        self.log_prob += log_prob
        self._pending += log_prob
        if not (entry["text"] and self.scored):
            return []
        total, self._pending = round(self._pending, 5), 0.0
        likeliest = dict(entry.get("alternatives", ())) if total == log_prob else {}
        return [Token(entry["text"], total, likeliest | {entry["text"]: total})]


def prompt_tokens(prompt: Prompt, scores: Sequence[tuple[float, Sequence[tuple[str, float]]]]) -> list[Token]:
    """Return the characters of a prompt as given, from the scores of the symbols that are read after the first.

    There is no log-probability for the first character, nor for one that is skipped or read together with the next.
    """
    tokens, begin = [], 0
    for character, end in zip(prompt.text, prompt.spelling.ends.tolist(), strict=True):
        read = scores[begin - 1 : end - 1] if 0 < begin < end else []
        log_prob = round(sum(each for each, _ in read), 5) if read else None
        likeliest = dict(read[0][1]) if len(read) == 1 else {}
        tokens.append(Token(character, log_prob, None if log_prob is None else likeliest | {character: log_prob}))
        begin = end
    return tokens


class Answer:
    """Builds the answer to one request, or its chunks.

    Args:
        model: Name of the model.
        fingerprint: Name of the program and its settings.
        logprobs: Whether choices have log-probabilities.
    """

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, fingerprint: str, logprobs: bool) -> None:
        self._common = {"model": model, "system_fingerprint": fingerprint, "created": int(time.time())}
        self._id = f"{self.prefix}-{uuid.uuid4().hex}"
        self.logprobs, self._offsets = logprobs, dict[int, int]()

    def whole(self, pieces: Iterable[Piece], usage: Mapping[str, int]) -> dict[str, Any]:
        """Return an answer that is not a stream."""
        return self._object(self.kind, [self._choice(piece) for piece in pieces]) | {"usage": usage}

    def begin(self, _number: int) -> list[dict[str, Any]]:
        """Return the chunks of a choice before its text."""
        return []

    def chunk(self, piece: Piece) -> list[dict[str, Any]]:
        """Return a piece as chunks."""
        return [self._object(self.chunk_kind, [self._choice(piece)])] if piece.text or piece.reason else []

    def usage_chunk(self, usage: Mapping[str, int]) -> dict[str, Any]:
        """Return the last chunk, which has no choice."""
        return self._object(self.chunk_kind, []) | {"usage": usage}

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, "object": kind, **self._common, "choices": choices}

    def _choice(self, piece: Piece) -> dict[str, Any]:
        number = piece.number
        logprobs = self._listed(piece) if self.logprobs else None
        return {"index": number, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.reason}

    def _listed(self, piece: Piece) -> dict[str, Any]:
        offset = self._offsets.get(piece.number, 0)
        offsets = []
        for token in piece.tokens:
            offsets.append(offset)
            offset += len(token.text)
        self._offsets[piece.number] = offset
        return {
            "tokens": [token.text for token in piece.tokens],
            "token_logprobs": [token.log_prob for token in piece.tokens],
            "top_logprobs": [token.likeliest for token in piece.tokens],
            "text_offset": offsets,
        }


class ChatAnswer(Answer):
    """Builds the answer to a conversation."""

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def begin(self, number: int) -> list[dict[str, Any]]:
        """Return the chunk with the role."""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": None}
        return [self._object(self.chunk_kind, [choice])]

    def chunk(self, piece: Piece) -> list[dict[str, Any]]:
        """Return a piece as chunks; the finish reason has its own."""
        parts = [Piece(piece.number, piece.text, piece.tokens)] if piece.text else []
        parts += [Piece(piece.number, reason=piece.reason)] if piece.reason else []
        return [self._object(self.chunk_kind, [self._choice(part, "delta")]) for part in parts]

    def _choice(self, piece: Piece, name: str = "message") -> dict[str, Any]:
        content: dict[str, Any] = {"content": piece.text} if piece.text or name == "message" else {}
        if name == "message":
            content |= {"role": "assistant", "refusal": None}
        logprobs = {"content": [_described(token) for token in piece.tokens], "refusal": None}
        return {
            "index": piece.number,
            name: content,
            "logprobs": logprobs if self.logprobs and piece.tokens else None,
            "finish_reason": piece.reason,
        }


def _described(token: Token) -> dict[str, Any]:
    listed = sorted((token.likeliest or {}).items(), key=lambda pair: -pair[1])
    return _scored(token.text, token.log_prob) | {"top_logprobs": [_scored(*pair) for pair in listed]}


def _scored(text: str, log_prob: float | None) -> dict[str, Any]:
    return {"token": text, "logprob": log_prob, "bytes": list(text.encode("utf-8", "replace"))}


def usage_of(prompts: Iterable[Prompt], choices: Iterable[Choice]) -> dict[str, int]:
    """Count the symbols read and written."""
    read, written = sum(len(each.spelling.indices) for each in prompts), sum(each.symbols for each in choices)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def by_number(items: Iterable[Item]) -> dict[int, list[Item]]:
    """Return the items of each text."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item[2], []).append(item)
    return groups


class StreamEncoder:
    """Writes the items of some choices as the events of a stream."""

    def __init__(
        self, answer: Answer, prompts: Sequence[Prompt], choices: Sequence[Choice], include_usage: bool
    ) -> None:
        self._answer, self._prompts, self._choices = answer, prompts, choices
        self._include_usage, self._left = include_usage, len(choices)

    def __call__(self, items: Sequence[Item]) -> bytes:
        """Return items as events."""
        chunks: list[Any] = []
        for number, own in by_number(items).items():
            chunks += self._chunks(number, own)
        if not self._left:
            usage = usage_of(self._prompts, self._choices)
            chunks += [self._answer.usage_chunk(usage)] if self._include_usage else []
            chunks.append("[DONE]")
        return "".join(map(self._event, chunks)).encode()

    def _chunks(self, number: int, items: list[Item]) -> list[dict[str, Any]]:
        names = [name for name, _, _ in items]
        if names[-1] == "error":
            return [{"error": openai_error(503, items[-1][1]["message"], None)}]
        self._left -= names.count("done")
        chunks = self._answer.begin(number) if "start" in names else []
        return chunks + self._answer.chunk(self._choices[number].add(items))

    def _event(self, chunk: Any) -> str:
        if isinstance(chunk, str):
            return f"data: {chunk}\n\n"
        if self._include_usage and "error" not in chunk:
            chunk = {**chunk, "usage": chunk.get("usage")}
        return f"data: {compact_json(chunk)}\n\n"
