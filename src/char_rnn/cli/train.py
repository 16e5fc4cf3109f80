"""``char-rnn train``."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.flags2015 import flags_of_2015
from char_rnn.cli.models import open_model
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
from char_rnn.cli.train_request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.models import CharModel
    from char_rnn.training import Callback
    from char_rnn.training.program import Program
    from char_rnn.training.ranks import Ranks
    from char_rnn.training.run import Run
    from char_rnn.utils.config import Config
    from char_rnn.utils.device import DeviceManager

NEW_PARAGRAPH = "\n\n"


@click.command(name="train", cls=OneDashCommand)
@click.argument("data", required=False)
@config_options
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Train for M minutes on this machine, the schedule fitted to it.",
)
@click.option("--out", metavar="RUN", help="The run folder to make; named after the text when not given.")
@click.option("--seed", "-seed", type=int, help="Where all randomness starts.")
@click.option("--device", type=click.Choice(DEVICES), help="Where to train; auto takes the fastest there is.")
@click.option("--vocabulary", type=click.Choice(["characters", "bytes"]), help="What the model reads one at a time.")
@click.option("--encoding", help="The text's encoding; UTF-8 when not given.")
@click.option("--resume", metavar="RUN", help="Go on with the run in this folder.")
@click.option("--init-from", "-init_from", metavar="MODEL", help="Start from a model's weights and vocabulary.")
@flags_of_2015
@quiet_option
@debug_option
def command(**options: Any) -> None:
    """Train a model on a text.

    DATA is a text file, a folder, a .gz file, - for standard input, or a named data set (`char-rnn datasets`). The run
    folder gets the model (best.safetensors), the measurements (metrics.jsonl) and all that --resume needs. MODEL is a
    run folder, a .safetensors file, or a .t7 checkpoint of 2015. The flags of train.lua (-data_dir, -rnn_size,
    -eval_val_every, ...) are understood.

    \b
    Examples:
      char-rnn train python-stdlib --recipe quickstart
      char-rnn train my-book.txt --minutes 10 --out runs/my-book
      char-rnn train my-book.txt --set model.type=gru --set training.learning_rate=1e-3
      char-rnn train --resume runs/my-book
      torchrun --nproc-per-node 2 -m char_rnn train my-book.txt --out runs/my-book
      char-rnn train --torch7 -data_dir data/tinyshakespeare -rnn_size 512 -num_layers 2 -dropout 0.5
    """
    request = Request.of(options)
    config = request.config()
    manager = _device(config, request)
    from char_rnn.training.ranks import Ranks

    with Ranks.joined(manager.device) as ranks:
        request = request if ranks.is_first else replace(request, quiet=True)
        run = _open(config, request, manager, ranks)
        text = _train(run, request)
    if not request.torch7 and ranks.is_first:
        write_text(text + "\n")


def _device(config: Config, request: Request) -> DeviceManager:
    """Return the manager of the device; one that was asked for by name is not silently replaced.

    Several processes train on CUDA, a GPU each, or on the CPU: gloo and NCCL know no other device.
    """
    from char_rnn.training.ranks import Ranks
    from char_rnn.utils.device import DeviceManager

    wanted = config.device
    if Ranks.announced():
        if request.device == "mps":
            raise click.UsageError("--device mps trains in one process: leave out torchrun, or give --device cpu")
        Ranks.take_gpu()
        if wanted.preferred == "mps":
            wanted = wanted.model_copy(update={"preferred": "cuda" if "cuda" in DeviceManager.available() else "cpu"})
    fallback = wanted.fallback and not request.insists_on_device
    preferred = wanted.preferred if Ranks.announced() else request.device_name(config)
    manager = DeviceManager(preferred, auto_detect=wanted.auto_detect, fallback=fallback)
    manager.set_threads(wanted.threads)
    return manager


def _open(config: Config, request: Request, manager: DeviceManager, ranks: Ranks) -> Run:
    """Put the run together."""
    from char_rnn.cli.progress import preparation
    from char_rnn.training.run import Surroundings, resume_run, start_run

    with preparation(request.silent) as progress:
        surroundings = Surroundings(
            device=manager,
            callbacks=_callbacks(request),
            sampler=None if request.silent else _sampler(config),
            progress=progress,
            open_model=open_model,
            ranks=ranks,
        )
        if request.resume is not None:
            run = resume_run(config, request.resume, surroundings=surroundings, program=_program(config))
        else:
            run = start_run(
                config, request.out, init_from=request.init_from, surroundings=surroundings, program=_program(config)
            )
    say(_introduction(run, manager.describe()), quiet=request.silent)
    return run


def _program(config: Config) -> Program:
    """Return what the configuration wants to be trained with."""
    if config.training.trainer == "torch7":
        from char_rnn.torch7.program import program

        return program()
    from char_rnn.training.program import Program

    return Program()


def _callbacks(request: Request) -> list[Callback]:
    if request.quiet:
        return []
    if request.torch7:
        from char_rnn.torch7.lines import TrainLuaLines

        return [TrainLuaLines()]
    from char_rnn.training.progress import training_progress

    return [training_progress()]


def _introduction(run: Run, device: str) -> str:
    trainer, vocabulary = run.trainer, run.corpus.vocabulary
    model, train = trainer.config.model, trainer.dataloaders["train"]
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    read = f"{run.corpus.name}: {len(run.corpus.ids):,} {vocabulary.kind}, {vocabulary.size} different"
    built = f"{model.num_layers}-layer {model.type} of {model.hidden_size}, {parameters:,} parameters, on {device}"
    if not trainer.ranks.alone:
        built += f", in each of {trainer.ranks.count} processes"
    passed = f"{len(train):,} steps an epoch; {train.dropped:,} of {train.split.predicted:,} predictions left over"
    begin = f"goes on at step {trainer.step:,}" if trainer.step else "begins"
    if trainer.finished:
        begin = f"is finished after {trainer.step:,} steps, and is measured again"
    return f"{read}\n{built}\n{passed}\n{run.folder} {begin}"


def _train(run: Run, request: Request) -> str:
    """Train; say how it ended; return a sample of the best model, or nothing as train.lua."""
    quiet = request.silent
    trainer = run.trainer
    with stopping_at_signals(trainer.request_stop, request.quiet, twice=trainer.ranks.alone) as received:
        result = run.train()
    if result.stopped:
        source = "- " if run.trainer.config.data.data_dir == "-" else ""
        again = f"char-rnn train {'--torch7 ' if request.torch7 else ''}{source}--resume {run.folder}"
        say(f"stopped at step {result.step:,}; go on with: {again}", quiet=request.quiet)
        raise Exit(128 + received[0] if received else 0)
    if request.torch7:
        return ""
    unit, trained = run.corpus.vocabulary.unit, run.trainer.config.training
    for name, evaluation in (("validation", result.val), ("test, best model", result.test)):
        if evaluation is not None:
            say(f"{name}: {describe_evaluation(evaluation, unit)}", quiet=quiet)
    best = f"; the best was {result.best_val_loss:.4f} at step {result.best_step:,}" if result.best_step else ""
    early = f", ended early: {trained.patience} evaluations without a new best" if result.early else ""
    say(f"{result.step:,} steps in {result.seconds / 60:.1f} minutes{best}{early}", quiet=quiet)
    say(f"write more with: char-rnn sample {run.folder}", quiet=quiet)
    say("", quiet=quiet)
    return _sampler(run.trainer.config, 600)(run.trainer.model, run.corpus.vocabulary)


def _sampler(config: Config, length: int | None = None) -> Callable[[CharModel, Vocabulary], str]:
    """Return the function that writes a sample, always from the same seed so that progress shows.

    Without a prime of the user's own it begins where a paragraph does; a random first character makes a poor start.
    """
    from char_rnn.generation.sampler import TextGenerator

    settings = config.generation

    def sample(model: CharModel, vocabulary: Vocabulary) -> str:
        if next(model.parameters()).device.type != "cpu":  # where one character at a time is slow
            model = deepcopy(model).cpu()
        opening = NEW_PARAGRAPH if not settings.prime and "\n" in vocabulary.char_to_idx else ""
        text = TextGenerator(model, vocabulary).generate(
            settings.prime or opening,
            length if length is not None else config.logging.sample_length,
            settings.temperature,
            settings.top_k,
            settings.top_p,
            seed=settings.seed if settings.seed is not None else config.training.seed,
            unknown="skip",
        )
        return text.removeprefix(opening)

    return sample
