"""``char-rnn sweep``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.errors import FAILURE, one_line
from char_rnn.cli.options import debug_option, device_option, quiet_option, say, set_option, write_text
from char_rnn.cli.signals import stopping_at_signals
from char_rnn.cli.sweep_request import asked, with_recipe
from char_rnn.cli.train_request import Request
from char_rnn.cli.train_run import ending, open_run, run_device
from char_rnn.utils.terminal import quoted

if TYPE_CHECKING:
    from char_rnn.sweep.running import Job, SweepResult
    from char_rnn.training import CharRNNTrainer, TrainingResult


@click.command(name="sweep")
@click.argument("recipe", required=False)
@click.argument("data", nargs=-1)
@click.option(
    "--grid",
    "axes",
    multiple=True,
    metavar="SECTION.KEY=V1,V2,...",
    help="Values of one key; repeat the option to train every combination of several keys.",
)
@click.option("--seeds", metavar="S1,S2,...", help="Seeds; short for --grid training.seed=S1,S2,...")
@set_option
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Training time of each run in minutes; the schedule is fitted to it.",
)
@click.option("--out", metavar="DIR", help="Folder for the runs (default: named after the text).")
@click.option("--resume", metavar="DIR", help="Folder of a sweep to continue.")
@device_option(None)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@quiet_option
@debug_option
def command(
    recipe: str | None,
    data: tuple[str, ...],
    axes: tuple[str, ...],
    seeds: str | None,
    overrides: tuple[str, ...],
    minutes: float | None,
    out: str | None,
    resume: str | None,
    device: str | None,
    as_json: bool,
    quiet: bool,
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
    from char_rnn.sweep.folder import read_sweep
    from char_rnn.sweep.running import sweep
    from char_rnn.training.process_group import ProcessGroup

    if ProcessGroup.launched():
        raise click.UsageError("a sweep trains in one process: leave out torchrun")
    request = Request(data=data, overrides=overrides, minutes=minutes, device=device, quiet=quiet)
    if resume is None:
        config, grid = asked(with_recipe(request, recipe), axes, seeds)
    elif any(value is not None for value in (recipe, *data, *axes, seeds, *overrides, minutes, out)):
        raise click.UsageError(
            "--resume uses the settings of the sweep: leave out all options but --device, --json, --quiet"
        )
    else:
        config, grid = read_sweep(resume)
        request.place(config)
    if request.insists_on_device:
        run_device(config, request)  # tells at once that it is not there
    training = _Training(request)
    with stopping_at_signals(training.stop, quiet) as received:
        result = sweep(config, grid, resume or out, train=training, stop=lambda: bool(received))
    if result.stopped:
        say(f"stopped; continue with: char-rnn sweep --resume {quoted(result.folder)}", quiet=quiet)
        raise Exit(128 + received[0])
    _print(result, as_json)
    _conclude(result, quiet)


class _Training:
    """Trains the runs as ``char-rnn train`` does, and can be asked to stop."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._trainer: CharRNNTrainer | None = None
        self._stopped = False

    def stop(self) -> None:
        """Stop the present run after its present step, or the next one before its first."""
        self._stopped = True
        if self._trainer is not None:
            self._trainer.request_stop()

    def __call__(self, job: Job) -> TrainingResult:
        """Train a run; what goes wrong is said when it does."""
        from char_rnn.sweep.running import FAILURES

        quiet = self._request.quiet
        say(f"\nrun {job.number} of {job.total}: {job.name}", quiet=quiet)
        try:
            result = self._train(job)
        except FAILURES as error:
            say(f"error: {job.name}: {one_line(error)}")
            raise
        finally:
            self._trainer = None
        if not result.stopped:
            say(ending(result, job.config), quiet=quiet)
        return result

    def _train(self, job: Job) -> TrainingResult:
        from char_rnn.training.process_group import ProcessGroup

        folder = str(job.folder)
        request = replace(self._request, resume=folder) if job.resumed else replace(self._request, out=folder)
        run = open_run(job.config, request, run_device(job.config, request), ProcessGroup())
        self._trainer = run.trainer
        if self._stopped:
            self._trainer.request_stop()
        return run.train()


def _conclude(result: SweepResult, quiet: bool) -> None:
    """Say how many runs there are; those that failed make the command's status."""
    failed = sum(run.failure is not None for run in result.runs)
    count = len(result.runs)
    runs = f"{count} run{'' if count == 1 else 's'}" + (f", {failed} failed" if failed else "")
    say(f"{result.folder}: {runs}", quiet=quiet)
    if failed:
        raise Exit(FAILURE)


def _print(result: SweepResult, as_json: bool) -> None:
    from char_rnn.cli.sweep_table import everything, print_tables

    if as_json:
        write_text(json.dumps(everything(result), indent=2) + "\n")
    else:
        print_tables(result)
