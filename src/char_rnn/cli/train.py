"""``char-rnn train``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.options import DEVICES, config_options, debug_option, quiet_option, say, write_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.models import CharModel
    from char_rnn.training.run import Run
    from char_rnn.utils.config import Config


@click.command(name="train")
@click.argument("data", required=False)
@config_options
@click.option(
    "--minutes", type=float, metavar="M", help="Train for M minutes on this machine, the schedule fitted to it."
)
@click.option("--out", metavar="RUN", help="The run folder to make; named after the text when not given.")
@click.option("--seed", type=int, help="Where all randomness starts.")
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
    if resume and (out or recipe or config_file or init_from):
        raise click.UsageError(
            "--resume takes the run's own configuration: leave out --out, --recipe, --config, --init-from"
        )
    flags = {
        "training.minutes": minutes,
        "training.seed": seed,
        "data.vocabulary": vocabulary,
        "data.encoding": encoding,
    }
    overrides = (*overrides, *(f"{key}={value}" for key, value in flags.items() if value is not None))
    config = _config(data, recipe, config_file, overrides, device, out, resume)
    run = _open(
        config, resume or out, resume=resume is not None, init_from=init_from, insist=device is not None, quiet=quiet
    )
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
    from char_rnn.training.run import CONFIG, read_run_config
    from char_rnn.utils.config import compose_config

    if resume is not None:
        read_run_config(resume)
        config_file = str(Path(resume) / CONFIG)
    config = compose_config(recipe, config_file, overrides)
    if data is not None:
        config.data.data_dir = str(Path(data).absolute()) if data != "-" and Path(data).exists() else data
    if out is not None and not any(override.startswith("logging.log_dir=") for override in overrides):
        config.logging.log_dir = None  # --out RUN keeps everything of the run in RUN
    if device is not None:
        config.device.auto_detect = device == "auto"
        config.device.preferred = device if device != "auto" else config.device.preferred  # type: ignore[assignment]
    return config


def _open(config: Config, folder: str | None, *, resume: bool, init_from: str | None, insist: bool, quiet: bool) -> Run:
    from char_rnn.cli.progress import preparation
    from char_rnn.training.progress import training_progress
    from char_rnn.training.run import open_run
    from char_rnn.utils.device import DeviceManager

    wanted = config.device
    fallback = wanted.fallback and not insist
    manager = DeviceManager(wanted.preferred, auto_detect=wanted.auto_detect, fallback=fallback)
    manager.set_threads(wanted.threads)
    with preparation(quiet) as progress:
        run = open_run(
            config,
            folder,
            device=manager.device,
            resume=resume,
            init_from=init_from,
            callbacks=[] if quiet else [training_progress()],
            sampler=None if quiet else _sampler(config),
            progress=progress,
        )
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
    return f"{read}\n{built}\n{passed}\n{run.folder} {begin}"


def _train(run: Run, quiet: bool) -> str:
    """Train; say how it ended; return a sample of the best model."""
    with _stopping_at_signals(run.trainer.request_stop) as received:
        result = run.train()
    if result.stopped:
        say(f"stopped at step {result.step:,}; go on with: char-rnn train --resume {run.folder}", quiet=quiet)
        raise Exit(128 + received[0] if received else 0)
    for name, evaluation in (("validation", result.val), ("test (best model)", result.test)):
        if evaluation is not None:
            say(
                f"{name}: {evaluation.loss:.4f} nats, {evaluation.bits_per_character:.4f} bits a character, "
                f"perplexity {evaluation.perplexity:.3f}, over {evaluation.characters:,} characters",
                quiet=quiet,
            )
    best = f"; the best was {result.best_val_loss:.4f} at step {result.best_step:,}" if result.best_step else ""
    say(f"{result.step:,} steps in {result.seconds / 60:.1f} minutes{best}", quiet=quiet)
    say(f"write more with: char-rnn sample {run.folder}", quiet=quiet)
    say("", quiet=quiet)
    return _sampler(run.trainer.config, 600)(run.trainer.model, run.corpus.vocabulary)


def _sampler(config: Config, length: int | None = None) -> Callable[[CharModel, Vocabulary], str]:
    """Return the function that writes a sample, always from the same seed so that progress shows."""
    from char_rnn.generation.sampler import TextGenerator

    settings = config.generation

    def sample(model: CharModel, vocabulary: Vocabulary) -> str:
        device = next(model.parameters()).device
        return TextGenerator(model, vocabulary, device=device).generate(
            settings.prime,
            length if length is not None else config.logging.sample_length,
            settings.temperature,
            settings.top_k,
            settings.top_p,
            seed=settings.seed if settings.seed is not None else config.training.seed,
            unknown="skip",
        )

    return sample


@contextmanager
def _stopping_at_signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into ``stop``; a second one acts as usual. Yields the signals received."""
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        say("stopping after this step (once more to stop at once)")
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
