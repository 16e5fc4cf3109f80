"""The schema of a configuration: every key with its type, range, unit and default.

The classes are the truth: the shipped YAML files, the messages and ``docs`` are held to them. The docstring under
each field is its description; defaults are the values of the specification's ``config/default.yaml``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

_COUNT = 1_000_000_000
_WIDTH = 65_536

Horizon = Annotated[
    tuple[Annotated[int, Field(ge=0, le=_COUNT)], Annotated[int, Field(ge=1, le=_COUNT)]], Field(strict=False)
]


class Section(BaseModel):
    """What the sections share: unknown keys refused, no silent conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class ModelConfig(Section):
    """The network."""

    type: Literal["lstm", "gru", "rnn"] = "lstm"
    """Recurrent cell: lstm, gru or rnn (tanh)."""
    hidden_size: int = Field(default=128, ge=1, le=_WIDTH)
    """Units in each recurrent layer."""
    num_layers: int = Field(default=2, ge=1, le=1024)
    """Recurrent layers stacked on each other."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Probability of dropping a unit, between the layers and after the top one; 0 = none."""
    embedding: Literal["learned", "one-hot"] = "learned"
    """How a symbol enters the first layer: a learned vector, or the fixed one-hot vector of 2015."""
    embedding_size: int | None = Field(default=None, ge=1, le=_WIDTH)
    """Length of a learned vector; null = the vocabulary's size. Not with one-hot."""
    reset: Literal["after", "before"] = "after"
    """GRU only: the reset gate acts after the recurrent product (PyTorch) or before it (Chung et al. 2014)."""
    initialization: Literal["pytorch", "uniform", "xavier", "he", "orthogonal"] = "pytorch"
    """Scheme of the starting weights; uniform is 2015's (within 0.08 of 0, LSTM forget bias 1)."""

    @model_validator(mode="after")
    def _one_hot_has_no_size(self) -> ModelConfig:
        if self.embedding == "one-hot" and self.embedding_size is not None:
            raise _conflict(
                "model.embedding_size is {size}, but one-hot vectors have the vocabulary's size;"
                " set model.embedding_size to null or model.embedding to learned",
                ("embedding", "embedding_size"),
                size=self.embedding_size,
            )
        return self


class TrainingConfig(Section):
    """The optimisation."""

    batch_size: int = Field(default=50, ge=1, le=_COUNT)
    """Sequences trained on side by side."""
    seq_length: int = Field(default=50, ge=1, le=_COUNT)
    """Characters in each sequence: the reach of truncated back-propagation through time."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Largest step size of AdamW, reached at the end of the warm-up."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Decoupled weight decay of AdamW; 0 = none."""
    adam_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False, json_schema_extra={"allowed": "two numbers, each from 0 to below 1"}
    )
    """Decay rates of AdamW's running means of the gradient and of its square."""
    max_epochs: int = Field(default=50, ge=1, le=_COUNT)
    """Passes over the training split, at most."""
    max_steps: int | None = Field(default=None, ge=1, le=_COUNT)
    """Optimizer steps, at most; null = no limit but max_epochs."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock minutes to train for, the schedule fitted to them; null = as many as the other limits take."""
    warmup_steps: int = Field(default=100, ge=0, le=_COUNT)
    """Steps over which the learning rate rises linearly from 0; 0 = none."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the end of the cosine; at most learning_rate."""
    horizons: list[Horizon] | None = Field(
        default=None,
        min_length=1,
        json_schema_extra={"allowed": "null or pairs [step, end], steps rising from 0, each end after its step"},
    )
    """From which step on the schedule was to end where; a run of so many minutes writes it, to be repeatable."""
    grad_clip: float = Field(default=5.0, ge=0)
    """Largest norm of the whole gradient; 0 = no clipping."""
    eval_interval: int = Field(default=1000, ge=1, le=_COUNT)
    """Steps between two evaluations on the validation split."""
    explosion_factor: float = Field(default=3.0, json_schema_extra={"allowed": "0 or a number more than 1"})
    """Training stops when the loss is more than this many times the first; 0 = never."""
    seed: int = Field(default=123, ge=0, le=2**63 - 1)
    """Seed of the starting weights, dropout and the order of windows."""

    @field_validator("horizons")
    @classmethod
    def _horizons_rise(cls, horizons: list[tuple[int, int]] | None) -> list[tuple[int, int]] | None:
        if horizons is not None:
            steps = [step for step, _ in horizons]
            if not all(a < b for a, b in pairwise(steps)) or any(step >= end for step, end in horizons):
                raise ValueError
        return horizons

    @field_validator("explosion_factor")
    @classmethod
    def _leaves_room(cls, factor: float) -> float:
        if factor != 0 and factor <= 1:
            raise ValueError
        return factor

    @model_validator(mode="after")
    def _cosine_falls(self) -> TrainingConfig:
        if self.min_learning_rate > self.learning_rate:
            raise _conflict(
                "training.min_learning_rate {low} is above training.learning_rate {high}; it must be at most that",
                ("learning_rate", "min_learning_rate"),
                low=self.min_learning_rate,
                high=self.learning_rate,
            )
        return self

    @model_validator(mode="after")
    def _one_plan(self) -> TrainingConfig:
        if self.minutes is not None and self.horizons is not None:
            raise _conflict(
                "training.minutes {minutes} asks for a schedule to be fitted, and training.horizons is one that was;"
                " set one of them to null",
                ("minutes", "horizons"),
                minutes=self.minutes,
            )
        return self


class DataConfig(Section):
    """The text and how it is read."""

    data_dir: str = Field(default="data/tinyshakespeare", min_length=1, json_schema_extra={"allowed": "a path or name"})
    """Named data set, file, folder, .gz file, or - for standard input."""
    train_frac: float = Field(default=0.95, gt=0, le=1)
    """Share of the text that is trained on (its beginning)."""
    val_frac: float = Field(default=0.05, ge=0, lt=1)
    """Share of the text for validation (what follows); the rest is the test split."""
    vocabulary: Literal["characters", "bytes"] = "characters"
    """What a symbol is: a Unicode code point or a byte."""
    encoding: str = Field(
        default="utf-8", json_schema_extra={"allowed": "a text encoding that Python knows, such as utf-8 or latin-1"}
    )
    """Encoding of the text files."""
    batching: Literal["streams", "windows"] = "streams"
    """Contiguous streams with the hidden state carried over, or shuffled windows that each start from zero."""
    num_workers: int = Field(default=0, ge=0, le=1024)
    """Processes that load windows; 0 = the training process itself."""
    cache_dir: str | None = Field(default=None, min_length=1, json_schema_extra={"allowed": "a path or null"})
    """Folder of the encoded texts; null = the user's cache folder."""

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str) -> str:
        try:
            "a".encode(encoding)
        except LookupError as error:
            raise ValueError from error
        return encoding

    @model_validator(mode="after")
    def _fractions_fit(self) -> DataConfig:
        if self.train_frac + self.val_frac > 1 + 1e-9:
            raise _conflict(
                "data.train_frac {train} and data.val_frac {val} add up to {total}; together they must be at most 1",
                ("train_frac", "val_frac"),
                train=self.train_frac,
                val=self.val_frac,
                total=round(self.train_frac + self.val_frac, 9),
            )
        return self


class GenerationConfig(Section):
    """The writing of text."""

    temperature: float = Field(default=1.0, ge=0)
    """Divides the log-probabilities before sampling: below 1 safer, above 1 bolder; 0 = always the likeliest."""
    top_k: int | None = Field(default=None, ge=1, le=_COUNT)
    """Only the k likeliest symbols are drawn; null = all."""
    top_p: float | None = Field(default=0.9, gt=0, le=1)
    """Nucleus: only the likeliest symbols that together have this probability are drawn; null = all."""
    length: int = Field(default=1000, ge=0, le=_COUNT)
    """Symbols to write after the prime text."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """Seed of the drawing; null = a new one each time."""
    prime: str = Field(default="", json_schema_extra={"allowed": "text of whole Unicode characters"})
    """Text that is continued; empty = the first symbol is drawn uniformly."""

    @field_validator("prime")
    @classmethod
    def _no_half_characters(cls, prime: str) -> str:
        prime.encode("utf-8")
        return prime


class LoggingConfig(Section):
    """What a run writes down, and where."""

    log_dir: str | None = Field(default="logs", min_length=1, json_schema_extra={"allowed": "a path or null"})
    """Folder of the TensorBoard event files, a folder a run inside it; null = tensorboard/ inside the run folder."""
    checkpoint_dir: str = Field(default="checkpoints", min_length=1, json_schema_extra={"allowed": "a path"})
    """Folder that new run folders are made in when no --out is given."""
    log_interval: int = Field(default=100, ge=1, le=_COUNT)
    """Steps between two records of the training loss."""
    save_interval: int = Field(default=1000, ge=1, le=_COUNT)
    """Steps between two checkpoints."""
    tensorboard: bool = True
    """Whether TensorBoard event files are written."""
    sample_length: int = Field(default=200, ge=0, le=_COUNT)
    """Symbols sampled and shown at each evaluation; 0 = none."""


class DeviceConfig(Section):
    """Where it runs."""

    auto_detect: bool = True
    """Whether another device is taken when the preferred one is not there (mps, then cuda, then cpu)."""
    preferred: Literal["mps", "cuda", "cpu"] = "mps"
    """Device that is tried first."""
    fallback: bool = True
    """Whether to go on, with a warning, on the CPU when the device is missing or fails."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads; null = PyTorch's own choice."""


class Config(Section):
    """A whole configuration, one attribute a section."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The network."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """The optimisation."""
    data: DataConfig = Field(default_factory=DataConfig)
    """The text and how it is read."""
    generation: GenerationConfig = Field(default_factory=GenerationConfig)
    """The writing of text."""
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    """What a run writes down, and where."""
    device: DeviceConfig = Field(default_factory=DeviceConfig)
    """Where it runs."""


SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "training": TrainingConfig,
    "data": DataConfig,
    "generation": GenerationConfig,
    "logging": LoggingConfig,
    "device": DeviceConfig,
}


def _conflict(message: str, keys: tuple[str, ...], **values: float) -> PydanticCustomError:
    """An error between several keys of a section; ``keys`` lets the loader name the place of the last one given."""
    return PydanticCustomError("conflict", message, {"keys": keys, **values})
