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
    batch_size: Annotated[int, Field(ge=1, le=COUNT)] | Literal["auto"] = Field(
        default=50, json_schema_extra={"allowed": "a whole number from 1 to 1,000,000,000, or auto"}
    )
    """Sequences trained on side by side, in all processes together; auto = what suits the device, however it fits."""
    micro_batch_size: Annotated[int, Field(ge=1, le=COUNT)] | Literal["auto"] | None = Field(
        default=None, json_schema_extra={"allowed": "a whole number from 1 to 1,000,000,000, auto or null"}
    )
    """Sequences computed at once, their gradients added up; auto = as many as fit into memory, null = the batch."""
    seq_length: int = Field(default=50, ge=1, le=COUNT)
    """Characters in each sequence: the reach of truncated back-propagation through time."""
    random_segments: bool = False
    """Whether streams are read in sequences of random lengths around seq_length, the learning rate in proportion."""
    precision: Literal["float32", "float64", "bfloat16", "float16", "auto"] = "float32"
    """Floating-point type; bfloat16 and float16 are for products alone; auto = bfloat16 where it trains faster."""
    compile: bool = False
    """Whether torch.compile makes what stands between the recurrent layers."""
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    """How a gradient becomes a step: AdamW, 2015's RMSprop, or stochastic gradient descent."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each target that is spread evenly over the vocabulary (Szegedy et al. 2016); 0 = none."""
    activation_regularization: float = Field(default=0.0, ge=0)
    """Weight of the mean square of the top recurrent layer's output after its dropout (AR, Merity et al. 2017)."""
    temporal_activation_regularization: float = Field(default=0.0, ge=0)
    """Weight of the mean square of that output's change from step to step, before dropout (TAR); 0 = none."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Largest step size of the optimizer, reached at the end of the warm-up."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Weight decay of the matrices, decoupled from the gradient but in SGD; 0 = none."""
    adam_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False, json_schema_extra={"allowed": "two numbers, each from 0 to below 1"}
    )
    """Decay rates of AdamW's running means of the gradient and of its square."""
    decay_rate: float = Field(default=0.95, ge=0, lt=1)
    """Decay rate of RMSprop's running mean of the gradient's square."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Decay rate of SGD's running sum of gradients; 0 = none."""
    averaging: Literal["none", "polyak", "ema", "nt-asgd"] = "none"
    """What is evaluated and kept: the last parameters, their mean, moving average, or mean since validation stalled."""
    averaging_start: int = Field(default=0, ge=0, le=COUNT)
    """Steps after which the averaging begins; that of nt-asgd, at the earliest."""
    averaging_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay rate of the moving average of the parameters (ema), lower in its first steps."""
    averaging_patience: int = Field(default=5, ge=1, le=COUNT)
    """Evaluations, the latest, that are left out of the best which a new one must miss for nt-asgd to begin."""
    max_epochs: int = Field(default=50, ge=1, le=COUNT)
    """Passes over the training split, at most."""
    max_steps: int | None = Field(default=None, ge=1, le=COUNT)
    """Optimizer steps, at most; null = no limit but max_epochs."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall-clock minutes to train for, the schedule fitted to them; null = as many as the other limits take."""
    patience: int | None = Field(default=None, ge=1, le=COUNT)
    """Evaluations in a row without a new best after which training ends early; null = never."""
    schedule: Literal["cosine", "linear", "constant", "one-cycle", "plateau", "exponential"] = "cosine"
    """How the learning rate goes after the warm-up; plateau falls when validation stalls, exponential is 2015's."""
    warmup_steps: int = Field(default=100, ge=0, le=COUNT)
    """Steps over which the learning rate rises linearly from 0; 0 = none."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the end of cosine, linear and one-cycle, and the others' lowest; at most learning_rate."""
    learning_rate_decay: float = Field(default=0.97, gt=0, le=1)
    """Factor of the exponential schedule's learning rate after each epoch; 1 = none."""
    learning_rate_decay_after: int = Field(default=10, ge=0, le=COUNT)
    """Epoch at whose end the exponential schedule's learning rate falls for the first time."""
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    """Factor of the plateau schedule's learning rate when validation stalls."""
    plateau_patience: int = Field(default=2, ge=1, le=COUNT)
    """Evaluations in a row without a new best after which the plateau schedule's learning rate falls."""
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
    eval_characters: int | None = Field(default=None, ge=1, le=COUNT)
    """Characters of a split that an evaluation predicts; null = all, or what leaves a timed run the time to train."""
    explosion_factor: float = Field(default=3.0, json_schema_extra={"allowed": "0 or a number more than 1"})
    """A run stops when its mean loss is above this many times the larger of the first and ln V; 0 = never."""
    rollbacks: int = Field(default=3, ge=0, le=1000)
    """Times a run whose loss explodes goes back to its last good state with half the learning rate, before it stops."""
    seed: int = Field(default=123, ge=0, le=2**63 - 1)
    """Seed of the starting weights, dropout, the order of windows and the lengths of segments."""

    @property
    def sequences(self) -> int:
        """The batch size, once it is a number.

        Raises:
            ValueError: it is ``auto`` still.
        """
        if self.batch_size == "auto":
            raise ValueError("training.batch_size is auto; fit it to a model and a device first (start_run does)")
        return self.batch_size

    @property
    def parameter_type(self) -> Literal["float32", "float64"]:
        """What the parameters are stored in: in half precision the products alone are computed."""
        return "float64" if self.precision == "float64" else "float32"

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
