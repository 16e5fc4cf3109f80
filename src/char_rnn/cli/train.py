"""``char-rnn train``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.flags2015 import flags_of_2015
from char_rnn.cli.options import (
    DEVICES,
    OneDashCommand,
    config_options,
    debug_option,
    describe_evaluation,
    quiet_option,
    say,
    write_text,
)
from char_rnn.cli.signals import stopping_at_signals
from char_rnn.cli.train_request import Request, given_again
from char_rnn.cli.train_run import ending, open_run, run_device, sampler_of
from char_rnn.utils.terminal import quoted

if TYPE_CHECKING:
    from char_rnn.training.run import Run


@click.command(name="train", cls=OneDashCommand)
@click.argument("data", nargs=-1)
@config_options
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Training time in minutes; the schedule is fitted to it.",
)
@click.option("--out", metavar="RUN", help="Run folder to create (default: named after the text).")
@click.option("--seed", "-seed", type=int, help="Seed of all random numbers.")
@click.option("--device", type=click.Choice(DEVICES), help="Device to train on; auto is the fastest available.")
@click.option(
    "--vocabulary", type=click.Choice(["characters", "bytes"]), help="Symbols that the model reads and predicts."
)
@click.option("--encoding", help="Encoding of the text (default: UTF-8).")
@click.option("--separator", metavar="TEXT", help=r"Text between two files; \n, \r, \t, \\ and \uXXXX are escapes.")
@click.option("--resume", metavar="RUN", help="Folder of a run to continue.")
@click.option("--init-from", "-init_from", metavar="MODEL", help="Model whose weights and vocabulary to start from.")
@flags_of_2015
@quiet_option
@debug_option
def command(**options: Any) -> None:
    """Train a model on a text.

    DATA is a text file (plain, gzip, bzip2, xz or zip), a folder of text files, - for standard input, or a named data
    set (see `char-rnn datasets`). Several texts are read in the given order. The run folder contains the model
    (best.safetensors), the metrics (metrics.jsonl) and the state for --resume. MODEL is a run folder, a .safetensors
    file, or a .t7 checkpoint of 2015. The flags of train.lua also work (-data_dir, -rnn_size, -eval_val_every, ...).

    \b
    Examples:
      char-rnn train python-stdlib --recipe quickstart
      char-rnn train my-book.txt --minutes 10 --out runs/my-book
      char-rnn train book-1.txt book-2.txt.gz letters/ --separator '\\n\\n'
      char-rnn train my-book.txt --set model.type=gru --set training.learning_rate=1e-3
      char-rnn train --resume runs/my-book
      torchrun --nproc-per-node 2 -m char_rnn train my-book.txt --out runs/my-book
      char-rnn train --torch7 -data_dir data/tinyshakespeare -rnn_size 512 -num_layers 2 -dropout 0.5
    """
    request = Request.of(options)
    request.check_folders()
    config = request.config()
    manager = run_device(config, request)
    from char_rnn.training.process_group import ProcessGroup

    with ProcessGroup.join(manager.device) as group:
        request = request if group.is_first else replace(request, quiet=True)
        run = open_run(config, request, manager, group)
        text = _train(run, request)
    if not request.torch7 and group.is_first:
        write_text(text + "\n")


def _train(run: Run, request: Request) -> str:
    """Train; say how it ended; return a sample of the best model, or nothing as train.lua."""
    quiet = request.silent
    trainer = run.trainer
    with stopping_at_signals(trainer.request_stop, request.quiet, twice=trainer.group.alone) as received:
        result = run.train()
    if result.stopped:
        source = given_again(run.trainer.config)
        again = f"char-rnn train {'--torch7 ' if request.torch7 else ''}{source}--resume {quoted(run.folder or '')}"
        say(f"stopped at step {result.step:,}; continue with: {again}", quiet=request.quiet)
        raise Exit(128 + received[0] if received else 0)
    if request.torch7:
        return ""
    unit = run.corpus.vocabulary.unit
    for name, evaluation in (("validation", result.val), ("test, best model", result.test)):
        if evaluation is not None:
            say(f"{name}: {describe_evaluation(evaluation, unit)}", quiet=quiet, wrap=True)
    say(ending(result, run.trainer.config), quiet=quiet, wrap=True)
    say(f"write more with: char-rnn sample {quoted(run.folder or '')}", quiet=quiet)
    say("", quiet=quiet)
    return sampler_of(run.trainer.config, 600)(run.trainer.model, run.corpus.vocabulary)
