"""``char-rnn eval --dynamic``: its options, and what it prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.options import Function

if TYPE_CHECKING:
    from char_rnn.data.corpus import Split
    from char_rnn.models import CharModel
    from char_rnn.training.dynamic_evaluation import DynamicEvaluation

STATISTICS = {"train": "the training split", "own": "text that the model writes"}


def dynamic_options(function: Function) -> Function:
    """``--dynamic``, ``--dynamic-rate``, ``--dynamic-decay``, ``--dynamic-segment``."""
    for option in (
        click.option(
            "--dynamic-segment",
            type=click.IntRange(1, 1000),
            help="Characters between two updates (default: 20).",
        ),
        click.option(
            "--dynamic-decay",
            type=click.FloatRange(0, 1),
            callback=_number,
            help="Rate of return to the original parameters, lambda (default: 0.002).",
        ),
        click.option(
            "--dynamic-rate",
            type=click.FloatRange(min=0),
            callback=_number,
            help="Learning rate of --dynamic, eta (default: 0.0005).",
        ),
        click.option(
            "--dynamic", is_flag=True, help="Also evaluate a model that learns from the text during the evaluation."
        ),
    ):
        function = option(function)
    return function


def dynamic_settings(
    dynamic: bool, dynamic_rate: float | None, dynamic_decay: float | None, dynamic_segment: int | None
) -> dict[str, Any] | None:
    """Return what was chosen, as ``evaluate_dynamically`` takes it; None without ``--dynamic``.

    Raises:
        UsageError: One of the others stands without ``--dynamic``.
    """
    options = {"rate": dynamic_rate, "decay": dynamic_decay, "segment": dynamic_segment}
    chosen = {name: value for name, value in options.items() if value is not None}
    if dynamic:
        return chosen
    if chosen:
        raise click.UsageError(f"--dynamic-{next(iter(chosen))} has no effect without --dynamic; give both, or neither")
    return None


def evaluate_shown(
    model: CharModel, split: Split, train_split: Split | None, settings: dict[str, Any], quiet: bool
) -> DynamicEvaluation:
    """Evaluate dynamically, with a bar on a terminal."""
    from char_rnn.cli.progress import counted
    from char_rnn.training.dynamic_evaluation import evaluate_dynamically

    with counted(quiet) as progress:
        return evaluate_dynamically(model, split, train_split, **settings, progress=progress)


def dynamic_facts(evaluation: DynamicEvaluation) -> dict[str, Any]:
    """Return how the model learned, for JSON."""
    return {name: getattr(evaluation, name) for name in ("rate", "decay", "segment", "statistics")}


def describe_dynamics(evaluation: DynamicEvaluation) -> str:
    """Return how the model learned, in words."""
    return (
        f"learning from it on the way: rate {evaluation.rate:g}, decay {evaluation.decay:g}, segments of "
        f"{evaluation.segment}, gradients measured on {STATISTICS[evaluation.statistics]}"
    )


def _number(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value
