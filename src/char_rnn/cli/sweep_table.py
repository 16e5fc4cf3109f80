"""The tables of ``char-rnn sweep``: a line a run and, over the seeds, a line a setting; the same as data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from char_rnn.cli.options import shown
from char_rnn.cli.runs import everything as all_of_run
from char_rnn.cli.runs import rounded
from char_rnn.cli.runs_table import ANY_WIDTH, CELLS, STYLES, fits, table_of

if TYPE_CHECKING:
    from char_rnn.sweep.running import Setting, SweepResult, SweepRun

FIGURES = ("params", "steps", "minutes", "val nats", "best at")


def print_tables(result: SweepResult, console: Console | None = None) -> None:
    """Print the runs and, where there are several seeds, the mean and the standard deviation of each setting.

    Why a run failed stands below the first table. Piped, the tables are as wide as they need to be.
    """
    from char_rnn.sweep.grid import labels

    console = console or Console(highlight=False, width=None if os.isatty(1) else ANY_WIDTH)
    names = labels(result.grid)
    rows = [[*_values(run.values), *_figures(run), _state(run)] for run in result.runs]
    _print(console, [*names.values()], [*FIGURES, "state"], rows)
    for run in result.runs:
        if run.failure is not None:
            console.print(Text(f"{shown(run.name)}: {shown(run.problem or '')}", STYLES["damaged"]), soft_wrap=True)
    if settings := result.settings():
        rows = [[*_values(setting.values), *_spread(setting)] for setting in settings]
        _print(console, [names[key] for key in settings[0].values], ["seeds", "mean val nats", "deviation"], rows)


def everything(result: SweepResult) -> dict[str, Any]:
    """Return all that is known of a sweep, for JSON."""
    return {
        "sweep": str(result.folder),
        "grid": dict(result.grid),
        "runs": [_all_of(run, result) for run in result.runs],
        "settings": [
            {"values": setting.values, "losses": setting.losses, "mean": setting.mean, "deviation": setting.deviation}
            for setting in result.settings()
        ],
    }


def _print(console: Console, names: Sequence[str], others: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Print a table; in a narrow terminal the names of keys are broken where they may be."""
    left = {*names, "state"}
    table = table_of([*names, *others], rows, left)
    if not fits(table, console):
        names = [name.replace("_", "_\n").replace(".", ".\n") for name in names]
        table = table_of([*names, *(other.replace(" ", "\n") for other in others)], rows, {*names, "state"})
    console.print(table)


def _values(values: Mapping[str, Any]) -> list[str]:
    from char_rnn.sweep.grid import text_of

    return [shown(text_of(value)) for value in values.values()]


def _figures(run: SweepRun) -> list[Text | str]:
    return ["" if run.summary is None else CELLS[name](run.summary) for name in FIGURES]


def _state(run: SweepRun) -> Text | str:
    if run.failure is not None:
        return Text(run.failure, STYLES["damaged"])
    return "not started" if run.summary is None else CELLS["state"](run.summary)


def _spread(setting: Setting) -> list[Text | str]:
    mean = Text(rounded(setting.mean, 4), "bold")
    return [str(len(setting.losses)), mean, rounded(setting.deviation, 4)]


def _all_of(run: SweepRun, result: SweepResult) -> dict[str, Any]:
    from char_rnn.runs.listing import RunSummary

    unknown = {field.name: None for field in fields(RunSummary) if field.name != "folder"}
    known = all_of_run(run.summary) if run.summary is not None else {}
    facts = {"name": run.name, "values": run.values, "run": str(result.folder / run.name), **unknown, **known}
    failure = {"state": run.failure, "problem": run.problem} if run.failure is not None else {}
    return facts | failure
