"""The counters of a training state, each with its type and range.

A file can be damaged or edited by hand, and one of an early version lacks some counters. A value checked here needs
neither a check nor a default where it is used.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from char_rnn.utils.config.fields import is_rising

Count = Annotated[int, Strict(), Field(ge=0, lt=2**53)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0)]


def _rising(horizons: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if not is_rising(horizons):
        raise ValueError("steps must rise, and each end must come after its step")
    return horizons


class _Table(BaseModel):
    model_config = ConfigDict(extra="allow")  # keys of later versions


class _Plan(_Table):  # SchedulePlan.state_dict
    stale: Count = 0
    stale_since_drop: Count = 0
    evaluated_at: Count = 0
    halvings: Annotated[int, Strict(), Field(ge=0, le=1000)] = 0
    drops: list[Count] = []
    horizons: Annotated[list[tuple[Count, Count]], Field(min_length=1), AfterValidator(_rising)] | None = None
    seconds: Seconds = 0
    mark: tuple[Count, Seconds] = (0, 0)
    reserve: Seconds = 0
    eval_characters: Annotated[int, Strict(), Field(ge=1, lt=2**53)] | None = None


class _Guard(_Table):  # LossGuard.state_dict
    mean: Number | None = None
    above: Count = 0


class _Scaler(_Table):  # Precision.state_dict
    scale: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] = 1
    growth: Count = 0


class _Event(_Table):  # CharRNNTrainer.event
    step: Count
    event: str
    failed_step: Count


class _Teachers(_Table):  # Teachers.state_dict
    sha256: list[str] = []
    key: str = ""


class Counters(_Table):
    """Counters of a training state."""

    step: Count
    epoch: Count
    batch: Count
    seconds: Seconds
    seconds_in_steps: Seconds
    seconds_of_evaluation: Seconds
    seconds_per_character: Seconds = 0
    best_val_loss: Number | None
    best_step: Count
    first_loss: Number | None
    guard: _Guard = _Guard()
    interval: tuple[Annotated[float, Strict()], Annotated[float, Strict()]]  # may be NaN after a NaN loss
    micro_batch: Annotated[int, Strict(), Field(ge=1)] | None = None
    scaler: _Scaler = _Scaler()
    plan: _Plan = _Plan()
    reading: dict[str, Any]
    computing: dict[str, Any] = {}  # further settings, in files of 1.0
    data: str | None = None
    teachers: _Teachers = _Teachers()
    event: _Event | None = None
