"""Requests and answers of the API under /api: the limits, and the models that check requests and describe answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from char_rnn.generation.tracking_cells import TrackingCell
from char_rnn.sampling.options import NUMBERS, OPTIONS, pydantic_fields

Text = Annotated[str, Field(description="At most `limits.prime` characters.")]
ModelName = Annotated[str | None, Field(description="Name of the model; optional if the server has one model.")]
Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Limits:
    """Largest requests that the server answers.

    Attributes:
        length: Symbols that a request may have written.
        streams: Number of requests that a model processes at the same time.
        prime: Characters of a text in a request.
        numbers: Activations in one answer.
        characters_held: Characters written ahead of a client that lags behind.
        seconds_stalled: Seconds for which a client may read nothing before it is disconnected.
        seconds_body: Seconds in which the body of a request has to arrive.
        copies: Learned copies of a model.
        seconds_learned: Seconds after which an unused copy is dropped.

    Raises:
        ValueError: `length`, `streams` or `prime` is below 1.
    """

    length: int = 10_000
    streams: int = 32
    prime: int = 10_000
    numbers: int = 1_000_000
    characters_held: int = 1024
    seconds_stalled: float = 60.0
    seconds_body: float = 30.0
    copies: int = 8
    seconds_learned: float = 600.0

    def __post_init__(self) -> None:
        for name in ("length", "streams", "prime"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more; given {getattr(self, name)}")

    @property
    def body(self) -> int:
        """Bytes of a request: JSON needs up to 12 for a character of the prime, and of the texts to learn from."""
        return 24 * self.prime + 65_536


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Unit(Body):
    """A hidden cell."""

    layer: Count = Field(description="Layer, from 0 (the lowest).")
    index: Count


def sampling_fields(**changes: dict[str, Any]) -> dict[str, Any]:
    """Fields of the sampling options, as `pydantic_fields`; by default, a model's own settings apply."""
    known = {name: {"default": None, **changes.pop(name, {})} for name in NUMBERS}
    known["repetition_window"]["le"] = 100_000
    note = "Default: that of the model."
    return pydantic_fields(OPTIONS, note, **known, **{name: {"max_length": 10_000} for name in ("banned", "allowed")})


StrategyFields: Any = create_model("StrategyFields", __base__=Body, **sampling_fields())
"""A request with the sampling options."""


LEARN: Any = Field(
    [],
    max_length=1000,
    description="Texts that a copy of the model learns from first, in this order; at most `limits.prime` characters"
    " in all. Needs `char-rnn serve --learn`.",
)


class GenerateRequest(StrategyFields):  # type: ignore[misc]  # made at run time
    """A text to write."""

    model: ModelName = None
    prime: Text = Field("", description="At most `limits.prime` characters; empty = the prime of the model, if any.")
    length: Count = Field(500, description="Symbols to write, at most `limits.length`.")
    seed: Count | None = Field(None, description="Seed of the text; without one each text is different.")
    stop: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        [], max_length=16, description="Stop texts; the text ends before the first of them."
    )
    stop_at_newline: bool = False
    keep_stop: bool = Field(False, description="End the text with the stop text instead of before it.")
    unknown: Literal["nearest", "skip", "error"] = Field(
        "nearest", description="Treatment of characters in the prime that the model has never seen."
    )
    alternatives: int = Field(0, ge=0, le=20, description="Likeliest characters to send with each character.")
    unit: Unit | None = Field(None, description="Cell whose activation is sent with each character.")
    states: bool = Field(False, description="Send the activations of all cells, about 25 times a second.")
    learn: list[str] = LEARN


class TextBody(Body):
    """A text."""

    model: ModelName = None
    text: Text


class ReadRequest(TextBody):
    """A text to read."""

    learn: list[str] = LEARN


class ActivationsRequest(ReadRequest):
    """A text and the cells to read."""

    layer: Count = Field(description="Layer, from 0 (the lowest).")
    unit: Count | None = Field(None, description="Cell of the layer; without one, all of them.")


class CopiedRequest(TextBody):
    """A text to compare with the training text."""

    at_least: int = Field(20, ge=1, le=1000, description="Smallest length of a copied stretch, in characters.")


class CellsRequest(Body):
    """A text to find cells in."""

    text: Text


class ScoreRequest(ReadRequest):
    """A text to score."""

    alternatives: int = Field(0, ge=0, le=20, description="Number of likeliest characters after the text.")


class Model(BaseModel):
    """A served model."""

    name: str
    cell: str
    hidden_size: int
    num_layers: int
    parameters: int
    symbols: list[str] = Field(description="Characters; a byte that is not a whole character is written as \\xC3.")
    data: str | None = Field(description="Name of the training text.")
    loss: float | None = Field(description="Best validation loss, in nats per symbol.")
    suggested_primes: list[str] = Field(description="Texts to begin with; none for models of version 1.0.")
    temperature: float = Field(description="Temperature that the model samples with by default.")
    precision: Literal["float64", "float32", "bfloat16", "int8"]
    copied_from: str | None = Field(description="Name of the text that `/copied` searches, if any.")
    step: int | None = Field(description="Optimizer steps of its training, if known.")
    learns: bool = Field(description="Whether its copies can learn from texts (`learn`).")


class LimitsAnswer(BaseModel):
    """Largest requests that the server answers."""

    length: int = Field(description="Symbols to write.")
    streams: int = Field(description="Number of requests that a model processes at the same time.")
    prime: int = Field(description="Characters of each text in a request.")
    body: int = Field(description="Bytes of a request.")


class ModelsAnswer(BaseModel):
    """The models, the runs and the limits."""

    models: list[Model]
    runs: list[str] = Field(
        description="Names of the run folders. A run with a checkpoint is also a model; it is reloaded when the run"
        " writes a better one."
    )
    limits: LimitsAnswer


class Checkpoint(BaseModel):
    """A step of a run and its validation loss, in nats per symbol."""

    step: int | None
    loss: float | None


class Sample(BaseModel):
    """A text that the model wrote during the training."""

    step: int
    text: str


class TrainingAnswer(BaseModel):
    """The progress of a run."""

    state: Literal["running", "finished", "interrupted"]
    step: int
    total_steps: int | None = Field(description="Last step of the run, or an estimate.")
    epoch: float | None
    seconds: float | None = Field(description="Time spent.")
    seconds_left: float | None = Field(description="Estimate of the time left.")
    best: Checkpoint | None = Field(description="Lowest validation loss.")
    train: list[tuple[int, float]] = Field(
        description="Steps and losses, in nats per symbol; neighbours are averaged in a long run."
    )
    val: list[tuple[int, float]]
    samples: list[Sample] = Field(description="The latest samples, in order.")
    model: Checkpoint | None = Field(description="Checkpoint that the server writes with.")
    problem: str | None = Field(description="Why the newest checkpoint could not be read.")


class SpellingFields(BaseModel):
    """Differences between a text and what the model read of it; both fields are absent if there are none."""

    normal_form: Literal["NFC", "NFD"] | None = Field(
        None, description="Unicode normal form of the text as read, if the model knows more characters in it."
    )
    substitutions: list[tuple[str, str]] | None = Field(
        None, description="Pairs of a piece of the text and its replacement, which is empty if it was skipped."
    )


class StartEvent(SpellingFields):
    """The event `start`."""

    prime: str = Field(description="The prime as the model read it.")
    activations: list[float] | None = Field(None, description="Activation of `unit` after each symbol of the prime.")


class States(BaseModel):
    """Activations of all cells in 8 bits."""

    scale: float = Field(description="Activation of the level 127.")
    values: str = Field(description="Levels, signed bytes in base64, by character, layer and cell.")


class Character(BaseModel):
    """A character of the written text."""

    text: str = Field(description="Empty for a byte that does not complete a character.")
    probability: float = Field(description="The model's probability, before temperature and filters.")
    alternatives: list[tuple[str, float]] | None = Field(None, description="Likeliest characters, with probabilities.")
    activation: float | None = Field(None, description="Activation of `unit` after this character.")
    states: States | None = Field(None, description="Activations of all cells after this character.")
    symbol: str | None = Field(
        None, description="The drawn symbol as in `alternatives`, if it differs from `text`: a byte as \\xE2."
    )


class CharactersEvent(BaseModel):
    """A message without a name."""

    text: str
    characters: list[Character]


class DoneEvent(BaseModel):
    """The event `done`."""

    reason: Literal["length", "stop"]
    characters: int
    seconds: float
    writing_seconds: float = Field(description="Seconds after the prime was read.")


class ErrorEvent(BaseModel):
    """The event `error`, instead of `done`."""

    message: str


class ActivationsAnswer(SpellingFields):
    """Activations after each character of the text."""

    activations: list[float] | list[list[float]]


class StatesAnswer(SpellingFields, States):
    """Activations of all cells after each of the last characters of the text, as many as fit into an answer."""

    characters: int = Field(description="Number of these characters.")


class CellsAnswer(SpellingFields):
    """The cells that track each feature best."""

    cells: list[TrackingCell]


class ScoreAnswer(SpellingFields):
    """Log-probability of each character."""

    log_probs: list[float | None] = Field(
        description="In nats, given the characters before; null for a character that the model skips."
    )
    next: list[tuple[str, float]] | None = Field(
        None, description="Likeliest characters after the text, with probabilities; none after an empty text."
    )


class CopiedAnswer(BaseModel):
    """The copied stretches of a text."""

    stretches: list[tuple[int, int]] = Field(description="Start and end of each, in characters; may overlap.")


class HealthAnswer(BaseModel):
    """State of the server."""

    status: Literal["ok"]
    version: str
    models: Count


class OpenApiAnswer(BaseModel):
    """An OpenAPI description."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class ErrorDetail(BaseModel):
    """A message and the field it is about."""

    message: str
    field: str | None


class ErrorAnswer(BaseModel):
    """A refused request."""

    error: ErrorDetail
