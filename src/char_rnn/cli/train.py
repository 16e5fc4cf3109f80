"""``char-rnn train``."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.options import (
    DEVICES,
    config_options,
    debug_option,
    describe_evaluation,
    quiet_option,
    say,
    write_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.models import CharModel
    from char_rnn.training.run import Run
    from char_rnn.utils.config import Config

NEW_PARAGRAPH = "\n\n"


@click.command(name="train")
@click.argument("data", required=False)
@config_options
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Train for M minutes on this machine, the schedule fitted to it.",
)
@click.option("--out", metavar="RUN", help="The run folder to make; named after the text when not given.")
@click.option("--seed", type=click.IntRange(min=0), help="Where all randomness starts.")
@click.option("--device", type=click.Choice(DEVICES), help="Where to train; auto takes the fastest there is.")
@click.option("--vocabulary", type=click.Choice(["characters", "bytes"]), help="What the model reads one at a time.")
@click.option("--encoding", help="The text's encoding; UTF-8 when not given.")
@click.option("--resume", metavar="RUN", help="Go on with the run in this folder.")
@click.option("--init-from", metavar="MODEL", help="Start from a model's weights and vocabulary.")
@quiet_option
@debug_option
def command(
    data: str | None,
    recipe: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
    minutes: float | None,
    out: str | None,
    seed: int | None,
    device: str | None,
    vocabulary: str | None,
    encoding: str | None,
    resume: str | None,
    init_from: str | None,
    quiet: bool,
) -> None:
    """Train a model on a text.

    DATA is a text file, a folder, a .gz file, - for standard input, or a named data set (`char-rnn datasets`). The run
    folder gets the model (best.safetensors), the measurements (metrics.jsonl) and all that --resume needs.

    \b
    Examples:
      char-rnn train python-stdlib --recipe quickstart
      char-rnn train my-book.txt --minutes 10 --out runs/my-book
      char-rnn train my-book.txt --set model.type=gru --set training.learning_rate=1e-3
      char-rnn train --resume runs/my-book
    """
    from char_rnn.training.run import check_run
    from char_rnn.utils.config import compose_config

    if resume and (out or recipe or config_file or init_from):
        raise click.UsageError(
            "--resume takes the run's own settings: leave out --out, --recipe, --config, --init-from"
        )
    if init_from and any(override.startswith("model.") and "dropout" not in override for override in overrides):
        raise click.UsageError("--init-from takes the model's own architecture: leave out --set model....")
    flags = {
        "training.minutes": minutes,
        "training.seed": seed,
        "data.vocabulary": vocabulary,
        "data.encoding": encoding,
    }
    given = tuple(f"{key}={value}" for key, value in flags.items() if value is not None)
    config_file = str(check_run(resume)) if resume else config_file
    if minutes is not None and compose_config(recipe, config_file).training.horizons:  # a timed run's: plan anew
        overrides = ("training.horizons=null", "training.max_steps=null", *overrides)
    config = _config(data, recipe, config_file, (*overrides, *given), device, out, resume)
    run = _open(config, out, resume, init_from, insist=device not in {None, "auto"}, quiet=quiet)
    write_text(_train(run, quiet) + "\n")


def _config(
    data: str | None,
    recipe: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
    device: str | None,
    out: str | None,
    resume: str | None,
) -> Config:
    """Put the configuration together: recipe, file, --set, the other flags; later wins."""
    from char_rnn.utils.config import compose_config

    config = compose_config(recipe, config_file, overrides)
    if data is not None:
        config.data.data_dir = data
    elif resume is not None and config.data.data_dir == "-":
        raise click.UsageError(f"the run read standard input; give it again: char-rnn train - --resume {resume} < TEXT")
    if out is not None:
        config.logging.log_dir = None  # --out RUN keeps everything of the run in RUN
    if device is not None:
        config.device.auto_detect = device == "auto"
        config.device.preferred = device if device != "auto" else config.device.preferred  # type: ignore[assignment]
    return config


def _open(
    config: Config, out: str | None, resume: str | None, init_from: str | None, *, insist: bool, quiet: bool
) -> Run:
    """Put the run together; a device that was asked for by name is not silently replaced."""
    from char_rnn.cli.progress import preparation
    from char_rnn.training.progress import training_progress
    from char_rnn.training.run import Surroundings, resume_run, start_run
    from char_rnn.utils.device import DeviceManager

    wanted = config.device
    manager = DeviceManager(wanted.preferred, auto_detect=wanted.auto_detect, fallback=wanted.fallback and not insist)
    manager.set_threads(wanted.threads)
    with preparation(quiet) as progress:
        surroundings = Surroundings(
            device=manager,
            callbacks=[] if quiet else [training_progress()],
            sampler=None if quiet else _sampler(config),
            progress=progress,
        )
        if resume is not None:
            run = resume_run(config, resume, surroundings=surroundings)
        else:
            run = start_run(config, out, init_from=init_from, surroundings=surroundings)
    say(_introduction(run, manager.describe()), quiet=quiet)
    return run


def _introduction(run: Run, device: str) -> str:
    trainer, vocabulary = run.trainer, run.corpus.vocabulary
    model, train = trainer.config.model, trainer.dataloaders["train"]
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    read = f"{run.corpus.name}: {len(run.corpus.ids):,} {vocabulary.kind}, {vocabulary.size} different"
    built = f"{model.num_layers}-layer {model.type} of {model.hidden_size}, {parameters:,} parameters, on {device}"
    passed = f"{len(train):,} steps an epoch; {train.dropped:,} of {train.split.predicted:,} predictions left over"
    begin = f"goes on at step {trainer.step:,}" if trainer.step else "begins"
    if trainer.finished:
        begin = f"is finished after {trainer.step:,} steps, and is measured again"
    return f"{read}\n{built}\n{passed}\n{run.folder} {begin}"


def _train(run: Run, quiet: bool) -> str:
    """Train; say how it ended; return a sample of the best model."""
    with _stopping_at_signals(run.trainer.request_stop, quiet) as received:
        result = run.train()
    if result.stopped:
        source = "- " if run.trainer.config.data.data_dir == "-" else ""
        say(f"stopped at step {result.step:,}; go on with: char-rnn train {source}--resume {run.folder}", quiet=quiet)
        raise Exit(128 + received[0] if received else 0)
    unit = run.corpus.vocabulary.unit
    for name, evaluation in (("validation", result.val), ("test, best model", result.test)):
        if evaluation is not None:
            say(f"{name}: {describe_evaluation(evaluation, unit)}", quiet=quiet)
    best = f"; the best was {result.best_val_loss:.4f} at step {result.best_step:,}" if result.best_step else ""
    say(f"{result.step:,} steps in {result.seconds / 60:.1f} minutes{best}", quiet=quiet)
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


@contextmanager
def _stopping_at_signals(stop: Callable[[], None], quiet: bool) -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into ``stop``; a second one acts as usual. Yields the signals received.

    Signals reach the main thread alone; elsewhere nothing is changed.
    """
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        if not quiet:
            os.write(2, b"\nstopping after this step (once more to stop at once)\n")
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
