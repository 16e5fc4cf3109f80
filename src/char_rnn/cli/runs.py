"""``char-rnn runs``."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import rich_click as click

from char_rnn.cli.options import debug_option, say, shown, write_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from char_rnn.runs.listing import RunSummary

ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "name": lambda run: run.folder,
    "best": lambda run: math.inf if run.best_loss is None else run.best_loss,
    "time": lambda run: -run.changed,
    "minutes": lambda run: -(run.seconds or 0),
    "size": lambda run: -run.size,
}
COLUMNS = (
    "run", "data", "model", "parameters", "steps", "epochs", "val nats", "val bits", "best at", "unit", "minutes",
    "bytes", "written", "state",
)  # fmt: skip


@click.command(name="runs")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(list(ORDERS)),
    default="name",
    show_default=True,
    help="Sort order: by name, lowest loss, latest change, longest training or largest folder.",
)
@debug_option
def command(folders: tuple[str, ...], as_json: bool, order: str) -> None:
    """List runs with their model, best validation loss, time, size and progress.

    The command searches each FOLDER and three levels of folders below it. The default is runs/, checkpoints/, the
    current folder and the folders in it. A terminal shows a table of the columns that fit. Piped output has all
    columns, separated by tabs, with one line for each run.

    \b
    Examples:
      char-rnn runs
      char-rnn runs ~/experiments --sort best
      char-rnn runs --json | jq '.[] | select(.state == "unfinished") | .run'
    """
    from char_rnn.runs.listing import find_runs, summarize

    runs = sorted(map(summarize, find_runs(folders)), key=ORDERS[order])
    if as_json:
        write_text(json.dumps([everything(run) for run in runs], indent=2) + "\n")
    elif not runs:
        places = ", ".join(folders) or "runs/, checkpoints/ and the current folder"
        say(
            f"no runs found in {shown(places)}; create one with `char-rnn train`, or search with `char-rnn runs FOLDER`"
        )
    elif os.isatty(1):
        from char_rnn.cli.runs_table import print_table

        print_table(runs)
    else:
        write_text("".join("\t".join(line) + "\n" for line in (COLUMNS, *map(_fields, runs))))


def everything(run: RunSummary) -> dict[str, Any]:
    """Return all that is known of a run, for JSON."""
    facts = asdict(run)
    return {"run": str(facts.pop("folder")), **facts, "best_bits": run.best_bits, "changed": _written(run)}


def _fields(run: RunSummary) -> tuple[str, ...]:
    """Return the columns of a run in full, empty where nothing is known."""
    values = (
        run.folder, run.data, run.model, run.parameters, run.steps, run.epochs, run.best_loss, run.best_bits,
        run.best_step, run.unit, run.minutes, run.size, _written(run), state_of(run),
    )  # fmt: skip
    return tuple("" if value is None else shown(str(value)) for value in values)


def state_of(run: RunSummary) -> str:
    """Return in words how far a run has come, or what is wrong with it."""
    if run.problem is not None:
        return f"damaged: {run.problem}"
    running = ", running" if run.running else ""
    if run.state == "unfinished":
        return f"step {run.steps:,}" + (f" of {run.total_steps:,}" if run.total_steps is not None else "") + running
    return ("no model yet" if run.state == "begun" else run.state) + running


def rounded(value: float | None, digits: int) -> str:
    """Return a number with so many digits after the point, nothing for None."""
    return "" if value is None else f"{value:,.{digits}f}"


def _written(run: RunSummary) -> str:
    return datetime.fromtimestamp(run.changed, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
