"""What the counters of a training state may be: their types and ranges, in one place.

A file can be damaged, or be edited by hand. A value that is checked here needs no check where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError

Count = Annotated[int, Strict(), Field(ge=0, lt=2**53)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0)]


def _rising(horizons: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if any(step >= end for step, end in horizons) or any(a[0] >= b[0] for a, b in pairwise(horizons)):
        raise ValueError("steps must rise, and each must be before its end")
    return horizons


class _Values(BaseModel):
    """Keys of later versions are let through."""

    model_config = ConfigDict(extra="allow")


class PlanValues(_Values):
    """``SchedulePlan.state``."""

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


class AveragingValues(_Values):
    """``Averaging.state``."""

    evaluations: list[tuple[Count, Number]] = []
    began: Count | None = None


class GuardValues(_Values):
    """``LossGuard.state``."""

    mean: Number | None = None
    above: Count = 0


class ScalerValues(_Values):
    """``Precision.state``."""

    scale: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] = 1
    growth: Count = 0


class EventValues(_Values):
    """What a run has gone back for, when its state was saved before that was recorded."""

    step: Count
    event: str
    failed_step: Count


class StateValues(_Values):
    """The counters that ``resume.capture`` returns; what has a default is missing in the files of early versions."""

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
    guard: GuardValues = GuardValues()
    interval: tuple[Annotated[float, Strict()], Annotated[float, Strict()]]  # a loss that is NaN is in it
    micro_batch: Annotated[int, Strict(), Field(ge=1)] | None = None
    scaler: ScalerValues = ScalerValues()
    averaging: AveragingValues = AveragingValues()
    plan: PlanValues | None = None
    reading: dict[str, Any]
    computing: dict[str, Any] = {}
    data: str | None = None
    event: EventValues | None = None


def damage(counters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the counters of a training state, in words; None when they can be used."""
    try:
        StateValues.model_validate(counters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the table"
        what = first["msg"].partition(" or instance of ")[0]
        return f"{where}: {what[:1].lower()}{what[1:]}"
    return None
