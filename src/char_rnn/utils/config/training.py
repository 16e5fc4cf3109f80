"""The ``training`` section of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from char_rnn.utils.config.fields import COUNT, Conflict, NonEmpty, Section, check, is_rising

Horizon = Annotated[
    tuple[Annotated[int, Field(ge=0, le=COUNT)], Annotated[int, Field(ge=1, le=COUNT)]], Field(strict=False)
]


class TrainingConfig(Section):
    """Training."""

    trainer: Literal["modern", "torch7"] = "modern"
    """Training program: modern, or torch7 to reproduce the program of 2015 exactly (see the recipe torch7)."""
    batch_size: Annotated[int, Field(ge=1, le=COUNT)] | Literal["auto"] = Field(
        default=50, json_schema_extra={"allowed": "a whole number from 1 to 1,000,000,000, or auto"}
    )
    """Number of sequences in a batch, over all processes; auto = a size that suits the device."""
    micro_batch_size: Annotated[int, Field(ge=1, le=COUNT)] | Literal["auto"] | None = Field(
        default=None, json_schema_extra={"allowed": "a whole number from 1 to 1,000,000,000, auto, or null"}
    )
    """Number of sequences computed at once (gradient accumulation); auto = as many as fit, null = all."""
    seq_length: int = Field(default=50, ge=1, le=COUNT)
    """Number of characters in each sequence: the length of truncated backpropagation through time."""
    precision: Literal["float32", "float64", "bfloat16", "float16", "auto"] = "float32"
    """Number type; bfloat16 and float16 are for matrix products only; auto = bfloat16 where it trains faster."""
    compile: bool = False
    """Compile the operations between the recurrent layers with torch.compile."""
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    """Optimizer: AdamW, the RMSprop of 2015, or stochastic gradient descent."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of each target that is spread evenly over the vocabulary (Szegedy et al. 2016); 0 = none."""
    activation_regularization: float = Field(default=0.0, ge=0)
    """Weight of the mean square of the top layer's output after dropout (AR, Merity et al. 2017); 0 = none."""
    temporal_activation_regularization: float = Field(default=0.0, ge=0)
    """Weight of the mean square change of the top layer's output between steps, before dropout (TAR); 0 = none."""
    teacher: NonEmpty | Annotated[list[NonEmpty], Field(min_length=1)] | None = Field(
        default=None, json_schema_extra={"allowed": "a model (run folder or file), a list of them, or null"}
    )
    """Models to learn from besides the text, by the mean of their predictions (distillation, Hinton et al. 2015)."""
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the teachers' predictions in the objective; the text has 1 minus this weight."""
    teacher_temperature: float = Field(default=1.0, gt=0)
    """Temperature at which the teachers' and the model's predictions are compared; above 1 = smoother."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Learning rate at the end of the warm-up, the largest of the schedule."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Weight decay of the matrices, decoupled from the gradient except with SGD; 0 = none."""
    adam_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False, json_schema_extra={"allowed": "two numbers, each from 0 to below 1"}
    )
    """Decay rates of AdamW's running means of the gradient and its square."""
    decay_rate: float = Field(default=0.95, ge=0, lt=1)
    """Decay rate of RMSprop's running mean of the gradient's square."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Decay rate of SGD's running sum of gradients; 0 = none."""
    averaging: Literal["none", "polyak", "ema"] = "none"
    """Parameters to evaluate and save: current (none), mean (polyak), or exponential moving average (ema)."""
    averaging_start: int = Field(default=0, ge=0, le=COUNT)
    """Number of steps before averaging starts."""
    averaging_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay rate of the moving average (ema), lower in its first steps."""
    max_epochs: int = Field(default=50, ge=1, le=COUNT)
    """Largest number of passes over the training split."""
    max_steps: int | None = Field(default=None, ge=1, le=COUNT)
    """Largest number of optimizer steps; null = no limit except max_epochs."""
    minutes: float | None = Field(default=None, gt=0)
    """Training time in minutes, to which the schedule is fitted; null = no time limit."""
    patience: int | None = Field(default=None, ge=1, le=COUNT)
    """Number of evaluations in a row without a new best after which training stops early; null = never."""
    schedule: Literal["cosine", "linear", "constant", "one-cycle", "plateau", "exponential"] = "cosine"
    """Learning-rate schedule after the warm-up; plateau lowers it when validation stalls, exponential is from 2015."""
    warmup_steps: int = Field(default=100, ge=0, le=COUNT)
    """Number of warm-up steps, in which the learning rate rises linearly from 0; 0 = none."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the end of cosine, linear and one-cycle; lower bound of the others; at most learning_rate."""
    learning_rate_decay: float = Field(default=0.97, gt=0, le=1)
    """Factor on the learning rate of the exponential schedule after each epoch; 1 = no decay."""
    learning_rate_decay_after: int = Field(default=10, ge=0, le=COUNT)
    """Epoch after which the learning rate of the exponential schedule first falls."""
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    """Factor on the learning rate of the plateau schedule when validation stalls."""
    plateau_patience: int = Field(default=2, ge=1, le=COUNT)
    """Number of evaluations in a row without a new best before the plateau schedule lowers the rate."""
    horizons: Annotated[list[Horizon], check(is_rising)] | None = Field(
        default=None,
        min_length=1,
        json_schema_extra={"allowed": "null or pairs [step, end], steps rising from 0, each end after its step"},
    )
    """Schedule segments [step, end]: from that step on, the schedule ends at step end. Timed runs write this key."""
    clip: Literal["norm", "value"] = "norm"
    """Gradient clipping by the norm of the whole gradient, or by value for each element (2015)."""
    grad_clip: float = Field(default=5.0, ge=0)
    """Largest norm or element of the gradient; 0 = no clipping."""
    eval_interval: int = Field(default=1000, ge=1, le=COUNT)
    """Number of steps between two evaluations on the validation split."""
    eval_characters: int | None = Field(default=None, ge=1, le=COUNT)
    """Number of characters in an evaluation; null = the whole split, or in a timed run as many as time allows."""
    explosion_factor: Annotated[float, check(lambda factor: factor == 0 or factor > 1)] = Field(
        default=3.0, json_schema_extra={"allowed": "0 or a number more than 1"}
    )
    """Limit of the mean loss, as a multiple of the first loss, or of ln(vocabulary size) if larger; 0 = no limit."""
    rollbacks: int = Field(default=3, ge=0, le=1000)
    """Number of times an exploding run returns to its last good state with half the learning rate before it stops."""
    seed: int = Field(default=123, ge=0, le=2**63 - 1)
    """Seed of the initial weights, dropout, and the order of windows."""

    @property
    def sequences(self) -> int:
        """The batch size as a number.

        Raises:
            ValueError: It is ``auto``.
        """
        if self.batch_size == "auto":
            raise ValueError("training.batch_size is auto; fit it to a model and a device first (start_run does)")
        return self.batch_size

    @property
    def teachers(self) -> list[str]:
        """The names or paths in ``teacher``."""
        return [self.teacher] if isinstance(self.teacher, str) else self.teacher or []

    @property
    def parameter_type(self) -> Literal["float32", "float64"]:
        """Number type of the parameters; half precision applies to products only."""
        return "float64" if self.precision == "float64" else "float32"

    def _conflicts(self) -> Iterator[Conflict]:
        if self.min_learning_rate > self.learning_rate:
            yield (
                f"training.min_learning_rate {self.min_learning_rate} is above training.learning_rate"
                f" {self.learning_rate}; lower it, or raise learning_rate",
                ("training.learning_rate", "training.min_learning_rate"),
            )
        if self.minutes is not None and self.horizons is not None:
            yield (
                f"training.minutes {self.minutes} plans a new schedule, but training.horizons contains one;"
                " set one of them to null",
                ("training.minutes", "training.horizons"),
            )
