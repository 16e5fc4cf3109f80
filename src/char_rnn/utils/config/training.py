"""The ``training`` section of a configuration."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from char_rnn.utils.config.section import COUNT, Section, conflict

Horizon = Annotated[
    tuple[Annotated[int, Field(ge=0, le=COUNT)], Annotated[int, Field(ge=1, le=COUNT)]], Field(strict=False)
]


class TrainingConfig(Section):
    """The optimisation."""

    trainer: Literal["modern", "torch7"] = "modern"
    """Which program trains: today's, or that of 2015 number for number (see the recipe torch7)."""
    batch_size: int = Field(default=50, ge=1, le=COUNT)
    """Sequences trained on side by side."""
    seq_length: int = Field(default=50, ge=1, le=COUNT)
    """Characters in each sequence: the reach of truncated back-propagation through time."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating-point numbers that the model is made of; float64, which 2015 used on the CPU, is slower."""
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    """How a gradient becomes a step: AdamW, or 2015's RMSprop."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Largest step size of the optimizer, reached at the end of the warm-up."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Decoupled weight decay of the matrices; 0 = none."""
    adam_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False, json_schema_extra={"allowed": "two numbers, each from 0 to below 1"}
    )
    """Decay rates of AdamW's running means of the gradient and of its square."""
    decay_rate: float = Field(default=0.95, ge=0, lt=1)
    """Decay rate of RMSprop's running mean of the gradient's square."""
    max_epochs: int = Field(default=50, ge=1, le=COUNT)
    """Passes over the training split, at most."""
    max_steps: int | None = Field(default=None, ge=1, le=COUNT)
    """Optimizer steps, at most; null = no limit but max_epochs."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock minutes to train for, the schedule fitted to them; null = as many as the other limits take."""
    schedule: Literal["cosine", "exponential"] = "cosine"
    """How the learning rate falls after the warm-up: half a cosine to the end, or 2015's factor after each epoch."""
    warmup_steps: int = Field(default=100, ge=0, le=COUNT)
    """Steps over which the learning rate rises linearly from 0; 0 = none."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the end of the cosine, and the exponential's lowest; at most learning_rate."""
    learning_rate_decay: float = Field(default=0.97, gt=0, le=1)
    """Factor of the exponential schedule's learning rate after each epoch; 1 = none."""
    learning_rate_decay_after: int = Field(default=10, ge=0, le=COUNT)
    """Epoch at whose end the exponential schedule's learning rate falls for the first time."""
    horizons: list[Horizon] | None = Field(
        default=None,
        min_length=1,
        json_schema_extra={"allowed": "null or pairs [step, end], steps rising from 0, each end after its step"},
    )
    """From which step on the schedule was to end where; a run of so many minutes writes it, to be repeatable."""
    clip: Literal["norm", "value"] = "norm"
    """What grad_clip limits: the norm of the whole gradient, or each element of it summed over the sequence (2015)."""
    grad_clip: float = Field(default=5.0, ge=0)
    """Largest norm, or largest element, of the gradient; 0 = no clipping."""
    eval_interval: int = Field(default=1000, ge=1, le=COUNT)
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
    def _rate_falls(self) -> TrainingConfig:
        if self.min_learning_rate > self.learning_rate:
            raise conflict(
                "training.min_learning_rate {low} is above training.learning_rate {high}; it must be at most that",
                ("training.learning_rate", "training.min_learning_rate"),
                low=self.min_learning_rate,
                high=self.learning_rate,
            )
        return self

    @model_validator(mode="after")
    def _one_plan(self) -> TrainingConfig:
        if self.minutes is not None and self.horizons is not None:
            raise conflict(
                "training.minutes {minutes} asks for a schedule to be fitted, and training.horizons is one that was;"
                " set one of them to null",
                ("training.minutes", "training.horizons"),
                minutes=self.minutes,
            )
        return self
