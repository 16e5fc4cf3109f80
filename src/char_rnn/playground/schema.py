"""What requests and answers hold: requests are checked by these models, and the OpenAPI description is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(description="At most `limits.prime` characters.")]
ModelName = Annotated[str | None, Field(description="Not needed where the server has one model.")]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Unit(Body):
    """A hidden cell."""

    layer: Count = Field(description="From 0, the lowest.")
    index: Count


class GenerateRequest(Body):
    """What to write."""

    model: ModelName = None
    prime: Text = ""
    length: Count = Field(500, description="Symbols to write, at most `limits.length`.")
    seed: Count | None = Field(None, description="The same text again; another each time without one.")
    stop: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        [], max_length=16, description="End before any of these would appear."
    )
    stop_at_newline: bool = False
    unknown: Literal["nearest", "skip", "error"] = Field(
        "nearest", description="What to do with characters of the prime that the model has never seen."
    )
    temperature: float = Field(1.0, ge=0, description="0: always the likeliest.")
    final_temperature: float | None = Field(None, ge=0, description="Reached at the end, in a straight line.")
    top_k: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, gt=0, le=1, description="Of the likeliest character's probability.")
    typical_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=100)
    repetition_window: int = Field(64, ge=1, le=100_000)
    banned: str = Field("", max_length=10_000, description="Characters never drawn.")
    allowed: str | None = Field(None, min_length=1, max_length=10_000, description="The only characters drawn.")
    alternatives: int = Field(0, ge=0, le=20, description="How many likeliest characters come with each.")
    unit: Unit | None = Field(None, description="The cell whose activation comes with each character.")


class ActivationsRequest(Body):
    """What to look at."""

    model: ModelName = None
    text: Text
    layer: Count = Field(description="From 0, the lowest.")
    unit: Count | None = Field(None, description="All of the layer without one.")


class CellsRequest(Body):
    """The text to find cells by."""

    text: Text


class ScoreRequest(Body):
    """The text to be surprised by."""

    model: ModelName = None
    text: Text


class Model(BaseModel):
    """A model that is served."""

    name: str
    cell: str
    hidden_size: int
    num_layers: int
    parameters: int
    symbols: list[str] = Field(description="Characters; a byte that alone is none is written as \\xC3.")
    data: str | None = Field(description="What it was trained on.")
    loss: float | None = Field(description="Best validation loss, in nats per symbol.")
    precision: Literal["float64", "float32", "bfloat16", "int8"]


class LimitsAnswer(BaseModel):
    """What the server refuses more of."""

    length: int = Field(description="Symbols to write.")
    streams: int = Field(description="Requests that a model computes for at once.")
    prime: int = Field(description="Characters of any text in a request.")
    body: int = Field(description="Bytes of a request.")


class ModelsAnswer(BaseModel):
    """The models and the limits."""

    models: list[Model]
    limits: LimitsAnswer


class Read(BaseModel):
    """What the model read that is not the text as given; both fields are left out where all was read as given."""

    normal_form: Literal["NFC", "NFD"] | None = Field(
        None, description="Unicode normal form in which the whole text was read, as the model knows more of it then."
    )
    substitutions: list[tuple[str, str]] | None = Field(
        None, description="Different pieces of the text, and what was read for each; empty for nothing."
    )


class StartEvent(Read):
    """The event `start`."""

    prime: str = Field(description="What the model read, after `unknown`.")
    activations: list[float] | None = Field(None, description="Of `unit`, after each symbol of the prime.")


class Character(BaseModel):
    """A character that was written."""

    text: str = Field(description="Empty for a byte that does not complete a character.")
    probability: float = Field(description="As the model predicted it, before the strategy.")
    alternatives: list[tuple[str, float]] | None = Field(None, description="The likeliest, and their probabilities.")
    activation: float | None = Field(None, description="Of `unit`, after this character.")
    symbol: str | None = Field(
        None, description="The symbol that was drawn, as in `alternatives`, where it is not `text`: a byte as \\xE2."
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
    writing_seconds: float = Field(description="Of these, after the prime had been read.")


class ErrorEvent(BaseModel):
    """The event `error`, instead of `done`."""

    message: str


class ActivationsAnswer(Read):
    """After each character of the text."""

    activations: list[float] | list[list[float]]


class CellAnswer(BaseModel):
    """A cell, and what it tracks."""

    tracks: str
    layer: int
    index: int
    correlation: float


class CellsAnswer(Read):
    """The cells that track something best."""

    cells: list[CellAnswer]


class ScoreAnswer(Read):
    """How likely each character was."""

    log_probs: list[float | None] = Field(
        description="In nats, of each character given those before; null for one that the model has nothing like."
    )


class HealthAnswer(BaseModel):
    """That the server runs."""

    status: Literal["ok"]
    version: str
    models: Count


class OpenApiAnswer(BaseModel):
    """A description of an API."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class ErrorDetail(BaseModel):
    """What is wrong, and where."""

    message: str
    field: str | None


class ErrorAnswer(BaseModel):
    """What every refusal looks like."""

    error: ErrorDetail


EVENTS: tuple[type[BaseModel], ...] = (StartEvent, CharactersEvent, DoneEvent, ErrorEvent)
Document = dict[str, Any]
