"""``char-rnn train``, and how a run is put together from its options."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.inputs import open_model
from char_rnn.cli.options import OneDashCommand, config_options, device_option, minutes_option, quiet_option
from char_rnn.cli.output import describe_evaluation, describe_new_symbols, preparation, say, write_text
from char_rnn.cli.train_options import TrainOptions, flags_of_2015, repeated_sources
from char_rnn.cli.training_page import TrainingPage
from char_rnn.utils.signals import stopping_at_signals
from char_rnn.utils.terminal import counted, quoted

if TYPE_CHECKING:
    from char_rnn.training import Callback
    from char_rnn.training.backend import TrainerBackend
    from char_rnn.training.process_group import ProcessGroup
    from char_rnn.training.run import Run
    from char_rnn.utils.config import Config
    from char_rnn.utils.device import DeviceManager

SAMPLE_LENGTH = 600
"""Characters of the sample that a finished run prints."""
SHORT_VALIDATION = 2000
"""Characters of a validation split below which a run warns."""


@click.command(name="train", cls=OneDashCommand)
@click.argument("data", nargs=-1)
@config_options
@minutes_option("Training time in minutes; the schedule is fitted to it.")
@click.option("--out", metavar="RUN", help="Run folder to create (default: named after the text).")
@click.option("--seed", "-seed", type=int, help="Seed of all random numbers.")
@device_option(None)
@click.option(
    "--vocabulary", type=click.Choice(["characters", "bytes"]), help="Symbols that the model reads and predicts."
)
@click.option("--encoding", help="Encoding of the text (default: UTF-8).")
@click.option("--separator", metavar="TEXT", help=r"Text between two files; \n, \r, \t, \\ and \uXXXX are escapes.")
@click.option("--resume", metavar="RUN", help="Folder of a run to continue.")
@click.option("--open", "open_page", is_flag=True, help="Show the training in a browser (extra playground).")
@click.option("--init-from", "-init_from", metavar="MODEL", help="Model with the initial weights and vocabulary.")
@click.option(
    "--grow-vocabulary", is_flag=True, help="Add the symbols of the text that the model of --init-from lacks."
)
@flags_of_2015
@quiet_option
def command(**options: Any) -> None:
    """Train a model on a text.

    DATA is a text file (plain, gzip, bzip2, xz or zip), a folder, - for standard input, or a named data set (`char-rnn
    datasets`). Several texts are read in the given order. The run folder contains the model (best.safetensors), the
    metrics (metrics.jsonl) and the state for --resume. The MODEL of --init-from is a run folder, a .safetensors file, a
    .t7 checkpoint of 2015, or hf://USER/NAME; --grow-vocabulary adds the symbols of DATA that this model lacks. --open
    shows a page with the losses, the samples, and a box to write with the best model so far. The flags of train.lua
    also work (-data_dir, -rnn_size, -eval_val_every, ...).

    \b
    Examples:
      char-rnn train python-stdlib --recipe quickstart
      char-rnn train my-book.txt --minutes 10 --out runs/my-book --open
      char-rnn train book-1.txt book-2.txt.gz letters/ --separator '\\n\\n'
      char-rnn train my-book.txt --set model.type=gru --set training.learning_rate=1e-3
      char-rnn train letters.txt --init-from runs/my-book --grow-vocabulary --set training.learning_rate=1e-3
      char-rnn train my-book.txt --set logging.tracker=trackio
      char-rnn train --resume runs/my-book
      torchrun --nproc-per-node 2 -m char_rnn train my-book.txt --out runs/my-book
      char-rnn train --torch7 -data_dir data/tinyshakespeare -rnn_size 512 -num_layers 2 -dropout 0.5
    """
    given = TrainOptions.of(**options)
    given.check_folders()
    config = given.config()
    with TrainingPage() if given.opens_page else nullcontext() as page:
        manager = run_device(config, given)
        from char_rnn.training.process_group import ProcessGroup

        with ProcessGroup.join(manager.device) as group:
            given = given if group.is_first else replace(given, quiet=True)
            run = open_run(config, given, manager, group)
            if page is not None and run.folder is not None:
                page.open(run.folder, given.quiet)
            text = _train(run, given)
        if not given.torch7 and group.is_first:
            write_text(text + "\n")
        if page is not None and group.alone and not given.quiet:
            page.wait()


def _train(run: Run, given: TrainOptions) -> str:
    """Train, report the result, and return a sample of the best model (nothing with ``--torch7``)."""
    from char_rnn.api import describe_result, sampler_of

    trainer, quiet = run.trainer, given.silent
    with stopping_at_signals(trainer.request_stop, given.quiet, twice=trainer.group.alone) as received:
        result = run.train()
    if result.stopped:
        torch7 = "--torch7 " if given.torch7 else ""
        again = f"char-rnn train {torch7}{repeated_sources(trainer.config)}--resume {quoted(run.folder or '')}"
        say(f"stopped at step {result.step:,}; continue with: {again}", quiet=given.quiet)
        raise Exit(128 + received[0] if received else 0)
    if given.torch7:
        return ""
    unit = run.corpus.vocabulary.unit
    for name, evaluation in (("validation", result.val), ("test, best model", result.test)):
        if evaluation is not None:
            say(f"{name}: {describe_evaluation(evaluation, unit)}", quiet=quiet, wrap=True)
    say(describe_result(result, run.trainer.config), quiet=quiet, wrap=True)
    say(f"write more with: char-rnn sample {quoted(run.folder or '')}", quiet=quiet)
    say("", quiet=quiet)
    return sampler_of(run.trainer.config, SAMPLE_LENGTH)(run.trainer.model, run.corpus.vocabulary)


def run_device(config: Config, given: TrainOptions) -> DeviceManager:
    """Return the manager of the device; a device that is named on the command line has no fallback.

    Several processes train on CUDA, with a GPU each, or on the CPU: gloo and NCCL support no other device.
    """
    from char_rnn.training.process_group import ProcessGroup
    from char_rnn.utils.device import DeviceManager

    wanted, preferred = config.device, given.device_name(config)
    if ProcessGroup.launched():
        if given.device == "mps":
            raise click.UsageError("--device mps trains in one process: leave out torchrun, or give --device cpu")
        ProcessGroup.take_gpu()
        preferred = wanted.preferred
        if preferred == "mps":
            preferred = "cuda" if "cuda" in DeviceManager.available() else "cpu"
    fallback = wanted.fallback and not given.insists_on_device
    # cuDNN's weights are copies with weight_dropout and in half precision, which PyTorch warns of.
    warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
    return DeviceManager(preferred, auto_detect=wanted.auto_detect, fallback=fallback)


def open_run(config: Config, given: TrainOptions, manager: DeviceManager, group: ProcessGroup) -> Run:
    """Create a new run, or open one to continue, and print what it is."""
    from char_rnn.api import sampler_of
    from char_rnn.training.run import RunContext, resume_run, start_run

    backend = _backend(config)
    with preparation(given.silent) as progress:
        context = RunContext(
            device=manager,
            callbacks=_callbacks(given),
            sample_text=None if given.silent and not given.opens_page else sampler_of(config),
            progress=progress,
            open_model=open_model,
            group=group,
        )
        if given.resume is not None:
            run = resume_run(config, given.resume, context=context, backend=backend)
        else:
            run = start_run(
                config,
                given.out,
                init_from=given.init_from,
                grow_vocabulary=given.grow_vocabulary,
                context=context,
                backend=backend,
            )
    say(_introduction(run, manager.describe()), quiet=given.silent, wrap=True)
    if warning := _short_validation(run):
        say(warning, quiet=given.silent, wrap=True)
    if given.grow_vocabulary:
        added = describe_new_symbols(run.corpus.vocabulary, run.trainer.checkpoints.metadata)
        say(added or "no new symbols: the model has all symbols of the text", quiet=given.silent, wrap=True)
    return run


def _backend(config: Config) -> TrainerBackend:
    if config.training.trainer == "torch7":
        from char_rnn.torch7.trainer import Torch7Backend

        return Torch7Backend()
    from char_rnn.training.backend import TrainerBackend

    return TrainerBackend()


def _callbacks(given: TrainOptions) -> list[Callback]:
    if given.quiet:
        return []
    if given.torch7:
        from char_rnn.torch7.trainer import TrainLuaLines

        return [TrainLuaLines()]
    from char_rnn.training.progress import training_progress

    return [training_progress()]


def _introduction(run: Run, device: str) -> str:
    from char_rnn.training.tuning import training_path

    trainer, vocabulary = run.trainer, run.corpus.vocabulary
    model, train = trainer.config.model, trainer.dataloaders["train"]
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    processes = "" if trainer.group.alone else f", in each of {trainer.group.size} processes"
    path = training_path(trainer.config, trainer.model, trainer.device)
    start = f"continues at step {trainer.step:,}" if trainer.step else "starts"
    if not trainer.should_continue:
        start = f"is finished after {trainer.step:,} steps and is evaluated again"
    return (
        f"{run.corpus.name}: {len(run.corpus.ids):,} {vocabulary.kind}, {vocabulary.size} distinct\n"
        f"{model.num_layers}-layer {model.type} with {model.hidden_size} units, {parameters:,} parameters\n"
        f"on {device}, {trainer.config.training.precision}, {path}{processes}\n"
        f"{len(train):,} steps per epoch; "
        f"{train.dropped:,} of {train.split.predicted:,} {vocabulary.kind} fill no batch\n"
        f"{run.folder} {start}"
    )


def _short_validation(run: Run) -> str:
    """Warn of a new run's validation split that is very short, but could be longer; otherwise return an empty text."""
    val, share = run.trainer.dataloaders.get("val"), run.trainer.config.data.val_frac
    if val is None or run.trainer.step or share >= 0.1 or len(val.split) >= SHORT_VALIDATION:
        return ""
    length = counted(len(val.split), run.corpus.vocabulary.unit)
    return (
        f"the validation split has only {length}, so its loss says little, "
        "and the best model is chosen by chance; for a longer one: --set data.train_frac=0.9 --set data.val_frac=0.1"
    )
