"""``char-rnn sweep``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit
from rich.console import Console
from rich.text import Text

from char_rnn.cli.options import device_option, json_option, minutes_option, quiet_option, set_option
from char_rnn.cli.output import say, write_text
from char_rnn.cli.process import FAILURE, one_line
from char_rnn.cli.runs import ANY_WIDTH, CELLS, STYLES, fits, print_problem, rounded, run_facts, table_of
from char_rnn.cli.train import open_run, run_device
from char_rnn.cli.train_options import Setting, TrainOptions
from char_rnn.utils.signals import stopping_at_signals
from char_rnn.utils.terminal import counted, quoted, visible_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from char_rnn.sweep import Job, SweepResult, SweepRun
    from char_rnn.training import CharRNNTrainer, TrainingResult
    from char_rnn.utils.config import Config

_FIGURES = ("params", "steps", "minutes", "val nats", "best at")


@click.command(name="sweep")
@click.argument("recipe", required=False)
@click.argument("data", nargs=-1)
@click.option(
    "--grid",
    "axes",
    multiple=True,
    metavar="SECTION.KEY=V1,V2,...",
    help="Values of one key; repeat the option for more keys, to train every combination.",
)
@click.option("--seeds", metavar="S1,S2,...", help="Seeds; short for --grid training.seed=S1,S2,...")
@set_option
@minutes_option("Training time of each run in minutes; the schedule is fitted to it.")
@click.option("--out", metavar="DIR", help="Folder for the runs (default: named after the text).")
@click.option("--resume", metavar="DIR", help="Folder of a sweep to continue.")
@device_option(None)
@json_option
@quiet_option
def command(
    recipe: str | None,
    axes: tuple[str, ...],
    seeds: str | None,
    out: str | None,
    resume: str | None,
    as_json: bool,
    **train: Any,
) -> None:
    """Train one run for each combination of values, and compare the runs in a table.

    RECIPE is the name of a recipe (see `char-rnn config list`) or a YAML file. DATA is the same as for `char-rnn
    train`. The runs are trained one after the other, each in its own folder in DIR. To continue an interrupted sweep,
    repeat the command or give --resume DIR. Commas separate values, except inside brackets and quotation marks, as in
    training.adam_betas=[0.9,0.95],[0.9,0.99].

    \b
    Examples:
      char-rnn sweep quickstart my-book.txt --grid training.learning_rate=1e-3,2e-3,4e-3
      char-rnn sweep my.yaml --grid model.type=lstm,gru --grid model.dropout=0,0.2 --seeds 1,2,3 --minutes 5
      char-rnn sweep --resume runs/my-book-sweep
    """
    from char_rnn.sweep import sweep
    from char_rnn.sweep.grid import read_sweep
    from char_rnn.training.process_group import ProcessGroup

    if ProcessGroup.launched():
        raise click.UsageError("a sweep trains in one process: leave out torchrun")
    given = TrainOptions(**train)
    if resume is None:
        config, grid = _asked(_with_recipe(given, recipe), axes, seeds)
    elif any(value is not None for value in (recipe, *given.data, *axes, seeds, *given.overrides, given.minutes, out)):
        raise click.UsageError(
            "--resume uses the settings of the sweep: leave out all options but --device, --json, --quiet"
        )
    else:
        config, grid = read_sweep(resume)
        given.apply(config)
    if given.insists_on_device:
        run_device(config, given)  # raises at once if it is not available
    running: list[CharRNNTrainer] = []

    def stop() -> None:
        for trainer in running:
            trainer.request_stop()

    with stopping_at_signals(stop, given.quiet) as received:
        train_job = partial(_train, given=given, running=running, received=received)
        result = sweep(config, grid, resume or out, train=train_job, stop=lambda: bool(received))
    if result.stopped:
        say(f"stopped; continue with: char-rnn sweep --resume {quoted(result.folder)}", quiet=given.quiet)
        raise Exit(128 + received[0])
    if as_json:
        write_text(json.dumps(_facts(result), indent=2) + "\n")
    else:
        print_tables(result)
    _conclude(result, given.quiet)


def _train(job: Job, given: TrainOptions, running: list[CharRNNTrainer], received: list[int]) -> TrainingResult:
    """Train a run as ``char-rnn train`` does, and print an error when it fails; its trainer is in ``running``."""
    from char_rnn.api import describe_result
    from char_rnn.sweep import FAILURES
    from char_rnn.training.process_group import ProcessGroup

    say(f"\nrun {job.number} of {job.total}: {job.name}", quiet=given.quiet)
    folder = str(job.folder)
    given = replace(given, resume=folder) if job.resumed else replace(given, out=folder)
    try:
        run = open_run(job.config, given, run_device(job.config, given), ProcessGroup())
        running.append(run.trainer)
        if received:  # before there was a trainer to stop
            run.trainer.request_stop()
        result = run.train()
    except FAILURES as error:
        say(f"error: {job.name}: {one_line(error)}")
        raise
    finally:
        running.clear()
    if not result.stopped:
        say(describe_result(result, job.config), quiet=given.quiet)
    return result


def _with_recipe(given: TrainOptions, recipe: str | None) -> TrainOptions:
    """Return the options with RECIPE as the name of a recipe, or else as a file."""
    from char_rnn.utils.config import recipes

    if recipe is None:
        raise click.UsageError(
            "Missing argument 'RECIPE': give the name of a recipe (see `char-rnn config list`) or a YAML file"
        )
    is_file = recipe not in recipes() and (Path(recipe).exists() or len(Path(recipe).parts) > 1 or "." in recipe)
    return replace(given, config_file=recipe) if is_file else replace(given, recipe=recipe)


def _asked(given: TrainOptions, axes: Sequence[str], seeds: str | None) -> tuple[Config, Mapping[str, list[Any]]]:
    """Return the configuration of the first run, and the values of each key."""
    from char_rnn.utils.config import read_setting

    grid: dict[str, list[Any]] = {}
    first: list[Setting] = []
    for overrides in [*map(_axis, axes), *([] if seeds is None else [_seeds(seeds)])]:
        read = [read_setting(override) for override in overrides]
        key = read[0][0]
        if key in grid:
            raise click.UsageError(f"{key} is in the grid twice; give all its values together")
        grid[key] = [value for _, value in read]
        first.append(overrides[0])
    if not grid:
        raise click.UsageError("the grid is empty: give --grid SECTION.KEY=V1,V2,... or --seeds S1,S2,...")
    options = {text.partition("=")[0].strip(): f"--set {text}" for text in given.overrides}
    options |= {"training.minutes": "--minutes"} if given.minutes is not None else {}
    options |= {"data.data_dir": "DATA"} if given.data else {}
    options |= {"device.preferred": "--device"} if given.device is not None else {}
    for key in grid:
        if key in options:
            raise click.UsageError(f"{key} is both in the grid and given by {options[key]}: leave one of them out")
    return given.config(first), grid


def _axis(axis: str) -> list[Setting]:
    """Return each value of ``section.key=V1,V2``."""
    from char_rnn.utils.config import ConfigError

    key, equals, text = axis.partition("=")
    values = split_values(text)
    if not equals or not all(values):
        empty = "an empty value" if len(values) > 1 else "no values"
        raise ConfigError(
            f"--grid {visible_name(axis)}: has {empty}; write section.key=V1,V2,"
            " with '' for an empty text and null for none"
        )
    return [(f"{key}={value}", f"--grid {key}={value}") for value in values]


def _seeds(text: str) -> list[Setting]:
    """Return each seed of ``S1,S2``."""
    from char_rnn.utils.config import ConfigError

    values = split_values(text)
    if not all(values):
        raise ConfigError(f"--seeds {visible_name(text)}: a seed is missing; write S1,S2,...")
    return [(f"training.seed={value}", f"--seeds {value}") for value in values]


def split_values(text: str) -> list[str]:
    """Split at commas as YAML's flow lists do: not inside brackets, nor inside quotation marks that begin a value."""
    values, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            escaped = quote == '"' and values[-1].endswith("\\")
            quote = "" if character == quote and not escaped else quote
        elif character in "\"'" and values[-1].lstrip()[:1] in {"", character}:
            quote = character
        elif character == "," and depth <= 0:
            values.append("")
            continue
        else:
            depth += (character in "[{") - (character in "]}")
        values[-1] += character
    return [value.strip() for value in values]


def print_tables(result: SweepResult, console: Console | None = None) -> None:
    """Print a table of the runs and, if the seed is swept, one of the mean and standard deviation over the seeds.

    Reasons for failures follow the first table. Piped tables are as wide as they need to be.
    """
    from char_rnn.sweep.grid import labels

    console = console or Console(highlight=False, width=None if os.isatty(1) else ANY_WIDTH)
    names = labels(result.grid)
    rows = [[*_values(run.values), *_figures(run)] for run in result.runs]
    _print(console, [*names.values()], [*_FIGURES, "state"], rows)
    for run in result.runs:
        if run.failure is not None:
            print_problem(console, run.name, run.problem or "")
    if settings := result.settings():
        rows = [
            [*_values(each.values), str(len(each.losses)), Text(rounded(each.mean, 4), "bold"),
             rounded(each.deviation, 4)]
            for each in settings
        ]  # fmt: skip
        _print(console, [names[key] for key in settings[0].values], ["seeds", "mean val nats", "deviation"], rows)


def _print(console: Console, names: Sequence[str], others: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Print a table; in a narrow terminal the names of keys are broken at dots and underscores."""
    table = table_of([*names, *others], rows, {*names, "state"})
    if not fits(table, console):
        names = [name.replace("_", "_\n").replace(".", ".\n") for name in names]
        table = table_of([*names, *(other.replace(" ", "\n") for other in others)], rows, {*names, "state"})
    console.print(table)


def _values(values: Mapping[str, Any]) -> list[str]:
    from char_rnn.sweep.grid import value_text

    return [visible_name(value_text(value)) for value in values.values()]


def _figures(run: SweepRun) -> list[Text | str]:
    figures: list[Text | str] = ["" if run.summary is None else CELLS[name](run.summary) for name in _FIGURES]
    if run.failure is not None:
        return [*figures, Text(run.failure, STYLES["damaged"])]
    return [*figures, "not started" if run.summary is None else CELLS["state"](run.summary)]


def _facts(result: SweepResult) -> dict[str, Any]:
    """Return all that is known of a sweep, for JSON."""
    return {
        "sweep": str(result.folder),
        "grid": dict(result.grid),
        "runs": [_run_facts(run, result) for run in result.runs],
        "settings": [{**asdict(each), "mean": each.mean, "deviation": each.deviation} for each in result.settings()],
    }


def _run_facts(run: SweepRun, result: SweepResult) -> dict[str, Any]:
    from char_rnn.runs.listing import RunSummary

    unknown = {field.name: None for field in fields(RunSummary) if field.name != "folder"}
    known = run_facts(run.summary) if run.summary is not None else {}
    facts = {"name": run.name, "values": run.values, "run": str(result.folder / run.name), **unknown, **known}
    return facts | ({"state": run.failure, "problem": run.problem} if run.failure is not None else {})


def _conclude(result: SweepResult, quiet: bool) -> None:
    """Print the number of runs; failed runs make the exit status 1."""
    failed = sum(run.failure is not None for run in result.runs)
    runs = counted(len(result.runs), "run") + (f", {failed} failed" if failed else "")
    say(f"{result.folder}: {runs}", quiet=quiet)
    if failed:
        raise Exit(FAILURE)
